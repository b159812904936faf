"""Questions to the treaty's records, answerable at any index of the log (MODEL 11).

    sight = Sight(law, size, state_digest, records)         now, or of a past index: see `past`
    ask(sight, "runs", about="3")                           one page of one question
    as_bytes(page)                                          JSON in one spelling: equal records give equal bytes

Reading order: `sight` (what a question sees), `state_views` (from the law's rows), `log_views` (from derived records as well),
`labels` (which evasions a state's reports would show), `answer` (names, pages, bytes), `moment` (an index or a date), `past`
(the law after an earlier commit).
"""
