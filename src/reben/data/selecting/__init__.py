"""Which patches of the metadata are used: filters, fractions, and what a store holds of them."""
