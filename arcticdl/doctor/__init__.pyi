# What the package offers, for its lazy loader, for mypy and for editors.
from .finding import Finding as Finding
from .finding import exit_code as exit_code
from .finding import show as show
from .machine import check_machine as check_machine
