"""A log is quiet as long as anybody wants it, and as before afterwards."""

import logging

from reben.support.quiet import quieter

LOG = logging.getLogger("reben.made_up")


def test_blocks_that_overlap_leave_the_log_as_it_was(caplog):
    first, second = quieter(LOG.name, logging.ERROR), quieter(LOG.name, logging.ERROR)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    LOG.warning("unheard")
    second.__exit__(None, None, None)
    LOG.warning("heard")
    assert [record.getMessage() for record in caplog.records] == ["heard"]
    assert LOG.level == logging.NOTSET
