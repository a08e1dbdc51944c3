"""`make bench`: how fast Kedge is, each figure beside a raw baseline of the same run."""
