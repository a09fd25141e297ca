"""What encoding is made of: inputs, jobs, the files of a patch, the report."""
