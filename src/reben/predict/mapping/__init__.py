"""Parts of the prediction of many products into one map."""
