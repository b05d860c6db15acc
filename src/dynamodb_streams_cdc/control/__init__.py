"""The contract between an operator and a deployed function.

    {"operation": "replay", "Records": [...]}     apply the records and repair their items
    {"operation": "inspect", "Records": [...]}    return the sink's states of the records' items
    {"operation": "repair", "Records": [{"Keys": ...}], "streamArn": ...}
                                                  repair the copies of items from the table
    {"operation": "verify", ...}                  compare copies with the table; see `verification`
    {"operation": "backfill", ...}                fill copies from the table; see `backfill`
    {"operation": "rebuild-sums", ...}            rebuild the sums; see `sums_rebuild`
    {"operation": "remove", "Records": [{"item": ..., "store": ..., "token": ...}]}
                                                  delete copies that are none of an item
    {"operation": "rebuild-index", ...}           rebuild a search index; see `index_rebuild`
    {"operation": "purge", ...}                   delete old tombstones; see `purge`
    {"operation": "notes", ...}                   notes, such as of open fills; see `notes`

They run in the function, which has the deployed code, the permissions and the network path to the
sink. A replay writes no dead letters, because the operator has them, and returns each failed record
with its reason.
"""
