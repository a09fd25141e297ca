import numpy as np
import pytest
import torch

import made_up
from reben.data.preprocess import SuspiciousInputWarning
from reben.errors import BandsMismatchError, ConfigError, PatchShapeError
from reben.model.backbone import pooled_features
from reben.model.classifier import Classifier
from reben.model.inference import optimise_for_inference

NAMES = ("VV", "B02", "B8A")
BACKBONES = ("test_resnet", "test_vit3", "test_convnext", "test_efficientnet")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(3)
    return Classifier("test_resnet", NAMES)


def patches(count):
    return [made_up.patch(number, NAMES) for number in range(count)]


def stacked(several):
    return {name: np.stack([one[name] for one in several]) for name in NAMES}


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_head_makes_the_very_logits_from_embeddings(backbone):
    torch.manual_seed(1)
    model = Classifier(backbone, NAMES)
    batch = stacked(patches(3))
    embeddings = model.embed(batch)
    head = model.model.vision_encoder.get_classifier().eval()
    with torch.no_grad():
        logits = head(torch.from_numpy(embeddings)).numpy()
    assert embeddings.dtype == np.float32
    assert embeddings.shape == (3, head.in_features)
    np.testing.assert_allclose(logits, model.predict(batch).logits, atol=1e-5)


def test_an_optimised_model_embeds_alike(model):
    batch = stacked(patches(3))
    fast = optimise_for_inference(model)
    np.testing.assert_allclose(fast.embed(batch), model.embed(batch), atol=1e-4)


def test_one_patch_has_a_vector_and_key_order_does_not_matter(model):
    one = made_up.patch(2)
    backwards = dict(reversed(one.items()))
    assert model.embed(one).shape == model.embed(stacked(patches(1)))[0].shape
    np.testing.assert_array_equal(model.embed(one), model.embed(backwards))


def test_embedding_leaves_the_mode_as_it_is_and_drops_nothing_out(model):
    model.train()
    first, second = model.embed(made_up.patch(0)), model.embed(made_up.patch(0))
    assert model.training
    model.eval()
    np.testing.assert_array_equal(first, second)


def test_many_are_the_same_as_one_by_one_and_as_a_batch(model):
    several = patches(7)
    scores = list(model.predict_many(iter(several), batch_size=3))
    together = model.predict(stacked(several))
    assert [one.values.shape for one in scores] == [(19,)] * 7
    for row, (one, patch) in enumerate(zip(scores, several, strict=True)):
        np.testing.assert_allclose(one.logits, model.predict(patch).logits, atol=1e-5)
        np.testing.assert_allclose(one.logits, together.logits[row], atol=1e-5)
    embeddings = np.stack(list(model.embed_many(several, batch_size=4)))
    np.testing.assert_allclose(embeddings, model.embed(stacked(several)), atol=1e-5)


def test_many_are_read_no_further_ahead_than_a_batch(model):
    read = []

    def coming():
        for number, patch in enumerate(patches(9)):
            read.append(number)
            yield patch

    next(model.predict_many(coming(), batch_size=4))
    assert read == [0, 1, 2, 3]


def test_many_may_differ_in_dtype_from_patch_to_patch(model):
    first, second = patches(2)
    second = {name: values.astype(np.float32) for name, values in second.items()}
    scores = list(model.predict_many([first, second]))
    np.testing.assert_allclose(scores[1].logits, model.predict(second).logits, atol=1e-5)


def test_a_warning_points_to_the_line_that_asks(model):
    patch = made_up.patch(0, NAMES)
    patch["B02"] = patch["B02"] + 1000
    for ask in (model.predict, model.embed):
        with pytest.warns(SuspiciousInputWarning) as warned:
            ask(patch)
        assert warned[0].filename == __file__


def test_many_say_what_is_wrong_when_they_come_to_it(model):
    several = [*patches(2), {"B02": made_up.band("B02")}]
    scores = model.predict_many(several, batch_size=1)
    next(scores), next(scores)
    with pytest.raises(BandsMismatchError, match="VV"):
        next(scores)
    with pytest.raises(PatchShapeError, match="Got 2 patches"):
        next(model.predict_many([stacked(patches(2))]))
    with pytest.raises(ConfigError, match="batch_size must be at least 1, not 0"):
        next(model.embed_many(patches(1), batch_size=0))


def test_a_network_that_hides_its_features_is_refused_by_name(model, monkeypatch):
    assert pooled_features(torch.nn.Flatten(), torch.zeros(1, 3, 4, 4)) is None
    monkeypatch.setattr("reben.model.classifier.pooled_features", lambda *_: None)
    with pytest.raises(ConfigError, match="test_resnet does not expose"):
        model.embed(made_up.patch(0))
