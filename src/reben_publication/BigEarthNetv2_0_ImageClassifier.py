"""The classifier under the name that published model cards import."""

from reben.model.classifier import Classifier as BigEarthNetv2_0_ImageClassifier

__all__ = ["BigEarthNetv2_0_ImageClassifier"]
