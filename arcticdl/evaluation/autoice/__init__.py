"""Ice charts judged as the AutoICE challenge does, and more severely beside it."""
