"""An optional package is the module, or an error that says what to install."""

import pytest

from reben.errors import MissingExtraError
from reben.support.extras import optional


def test_a_package_that_is_there_is_returned():
    import json

    assert optional("json", "geo", "Reading") is json


def test_one_that_is_not_there_says_what_to_install():
    with pytest.raises(MissingExtraError, match=r'^Reading scenes needs no_such.*reben\[geo\]"$'):
        optional("no_such.part", "geo", "Reading scenes")
