"""First prediction of a new process with Lucid."""

import lucid

model = lucid.models.create_model("resnet_50").eval()
with lucid.no_grad():
    logits = model(lucid.random.randn(1, 3, 224, 224)).numpy()
assert logits.shape == (1, 1000)
