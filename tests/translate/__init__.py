"""Tests of `tenfold.translate`: one network trained over all mixtures of several losses."""
