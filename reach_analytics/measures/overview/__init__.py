"""What a single look should tell: a verdict, the figures that matter most, and what to do now."""
