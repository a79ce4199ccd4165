"""What DSQL is known to do, as data: the evidence for every statement that is sent."""
