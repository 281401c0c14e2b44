"""The objects of a map that an experiment scores one by one."""

from arcticdl.config import Experiment
from arcticdl.evaluation.objects.instances import InstanceRule


def instance_rule(config: Experiment) -> InstanceRule | None:
    """Which objects are scored, as the product ``instances`` maps them; if any."""
    if config.instances is None:
        return None
    (product,) = (p for p in config.predict.products if p.name == "instances")
    options = {key: value for key, value in product.options.items() if key != "of"}
    return InstanceRule(
        config.instances,
        tuple(product.options["of"]),
        thresholds=config.predict.thresholds,
        steps=config.predict.steps,
        **options,
    )
