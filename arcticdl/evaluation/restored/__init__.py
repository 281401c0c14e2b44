"""Images that were made better, judged as images, and what filters make of them."""
