"""`foedus template` and `foedus file`: every kind that the schema knows, from a file that explains itself to a signed entry.

Reading order: `schema` (what the schema says of a field), `examples` (a body that the form accepts), `templates` (the text),
`drafts` (TOML and JSON back), `codes` (what each refusal means), then `commands`.

Nothing here lists kinds: they are those of `node.treaty.parsing.KIND_NAMES` with the forms and rules of their own modules.
"""
