"""What measures of several families need: groups, intervals around fractions, words."""
