"""What the default model that goes into the wheel tells of the rows that taught it."""

import numpy as np
import pytest

import gssm


@pytest.fixture(scope="module")
def model():
    return gssm.load_model("default")


def test_no_leaf_is_of_few_rows(model):
    params = model.provenance["training"]["hyperparameters"]
    # Each row is there twice, once with gaps made on purpose.
    assert params["blanked_copies"] == 1
    assert params["random_forest"]["min_samples_leaf"] >= 20
    assert params["xgboost"]["min_child_weight"] >= 50


def test_only_labels_in_the_public_domain_taught_it(model):
    assert set(model.provenance["training"]["networks"]) == {"SCAN", "USCRN"}
    labels = model.provenance["licence"]["labels"]
    assert all("public domain" in text for text in labels.values())


def test_references_of_the_area_of_applicability_hold_no_label(model):
    area = model.applicability
    used = np.count_nonzero(area.scale)
    assert area.references.shape[1] == used + 1
    assert not area.references[:, used].any()
    assert not {"soil_moisture", "latitude", "longitude"} & set(model.spec.features)
