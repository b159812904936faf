"""`foedus bench audit`: how fast history is checked, on a history made for it.

Reading order:

    synthetic     a founded ledger, its authors' signed statements, its DAG: written as an archive, the same bytes each time
    figures       what was measured, as document and tables
    measure       structure, full, receipts, the signature limit, memory, the curve
    command       `foedus bench audit`
"""
