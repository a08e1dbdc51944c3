"""A folder that instances are given in the contract suite."""
