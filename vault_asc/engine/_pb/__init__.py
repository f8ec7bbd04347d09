"""Generated from `vault_asc/engine/proto` by `make proto`; nothing here is written by hand."""
