# What the package offers, for its lazy loader, for mypy and for editors.
from .acquire import STRATEGIES as STRATEGIES
from .acquire import k_centre_greedy as k_centre_greedy
from .acquire import rank as rank
from .confident import Confidence as Confidence
from .confident import confident_class as confident_class
from .corrections import apply_corrections as apply_corrections
from .corrections import read_corrections as read_corrections
from .drift import compare_answers as compare_answers
from .drift import compare_band as compare_band
from .drift import distances as distances
from .drift import likely_scale as likely_scale
from .suspects import find_suspects as find_suspects
from .unaided import for_tests as for_tests
