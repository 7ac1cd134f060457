"""Tests of Weir, from single functions to whole machines."""
