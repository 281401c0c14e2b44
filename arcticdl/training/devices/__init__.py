"""Several devices and several processes that train one model together."""
