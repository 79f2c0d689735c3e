"""Models by name and their descriptions."""

from typing import assert_type

import lucid
from lucid import models, nn

assert_type(models.list_models("resnet_*", task="image-classification"), list[str])
assert_type(lucid.models.is_model("resnet_18"), bool)
info = lucid.models.model_info("resnet_18")
assert_type(info, models.ModelInfo)
assert_type(info.total_parameters, int | None)
assert_type(info.input_shape, tuple[int, ...])
for plugin in models.list_plugins():
    assert_type(plugin, models.PluginInfo)

model = lucid.models.create_model("resnet_18", num_classes=10)
assert_type(model, nn.Module)
with lucid.no_grad():
    logits: lucid.Tensor = model.eval()(lucid.random.randn(1, 3, 32, 32))
assert_type(logits.argmax(1), lucid.Tensor)
summary = models.summarize(model, (1, 3, 32, 32))
assert_type(summary, models.ModelSummary)
