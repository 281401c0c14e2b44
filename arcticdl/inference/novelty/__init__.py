"""How unlike the training scenes a picture is, by features of the network itself."""
