"""The files of a store: LMDB, values, store.json, the writer."""
