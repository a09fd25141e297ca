"""The import path that published model cards name; nothing in reben needs it."""
