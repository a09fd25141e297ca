"""Every exception that reben raises on purpose.

Each message says what was asked, what is there, and what to do. All of them derive from
`RebenError`, and from the builtin that fits, so that ``except ValueError`` works too.

The tree:

    RebenError
    ├── BandsError (ValueError)
    │   ├── UnknownBandError          a name that is no band
    │   ├── BandsMismatchError        the model needs bands that the data lack, or another order
    │   └── AmbiguousBandsError       nothing says in which order a model wants its bands
    ├── LabelsError (ValueError)
    │   └── UnknownLabelError         a name that is no label
    ├── PatchNameError (ValueError)   a text that is not a patch name
    ├── PixelsError (ValueError)
    │   ├── PatchShapeError           a band of the wrong size
    │   └── PixelValueError           values in a wrong unit, of a wrong dtype, or NaN
    ├── TiffError (ValueError)        a file that is not a readable single-band TIFF
    ├── StoreError (ValueError)       a folder that is not a store, or a damaged value in one
    │   └── MissingPatchError (LookupError)
    ├── EncodeError (ValueError)      files that did not all become values of a store
    │   └── ArchiveError              an archive that is damaged, cut off or not to be trusted
    ├── UploadError (ValueError)      files uploaded to the demo page that are not one patch
    ├── MetadataError (ValueError)    a table without the columns or rows that are needed
    │   └── EmptySplitError           filters that leave no patch
    ├── ConfigError (ValueError)      a setting that cannot be
    ├── ModelError (ValueError)
    │   ├── BackboneError             timm does not know or cannot build the architecture
    │   ├── ModelFolderError          a folder or repository without a usable config or weights
    │   ├── WeightsMismatchError      weights that are not exactly the model's
    │   ├── UnsafeWeightsError        pickled weights, which are never opened
    │   └── ExportError               a model that cannot be written in another format
    ├── RunError (ValueError)         a folder that is not a run, or one that is not finished
    ├── PredictError (ValueError)     patches that could not all be predicted
    ├── CardError (ValueError)        a card folder that is not fit to be published
    ├── TrainingError (RuntimeError)  training cannot go on
    ├── ProductError (ValueError)     a product that is not there, damaged, or not to be used
    │   ├── ProductLevelError         a level of processing that the models cannot use
    │   ├── MissingBandError          a band that the product should hold and does not
    │   ├── UnknownOffsetError        nothing says which offset the digital numbers carry
    │   ├── OffsetConflictError       two statements about the offset that contradict each other
    │   ├── UnknownUnitError          nothing says whether backscatter is in dB or linear
    │   └── GridError                 bands that do not lie on one north-up grid of 10 m
    ├── DownloadError (OSError)       a file that could not be fetched
    │   └── ChecksumError             a file that is not the one that was asked for
    ├── HubError (OSError)            the Hugging Face Hub does not do what was asked
    │   ├── HubAuthError              no token, or one that the Hub does not let do this
    │   ├── HubNotFoundError          no such repository, branch, tag or owner
    │   ├── HubConflictError          a name that is taken, or content that stands there already
    │   └── HubConnectionError        a Hub that cannot be reached or has trouble of its own
    ├── OutputError (OSError)         a file or folder that cannot be written
    ├── SceneError (RuntimeError)     scenes of a list that were not all predicted
    └── MissingExtraError (ImportError)  an optional dependency is not installed
"""

from typing import Any


class RebenError(Exception):
    """Base of every error that reben raises on purpose."""


class BandsError(RebenError, ValueError):
    """Something about bands or their order is wrong."""


class UnknownBandError(BandsError):
    """A name is not a band of a BigEarthNet v2.0 patch."""


class BandsMismatchError(BandsError):
    """The bands that are needed are not the bands that are there."""


class AmbiguousBandsError(BandsError):
    """Nothing says in which order a model wants its bands, and reben does not guess."""


class LabelsError(RebenError, ValueError):
    """Something about labels or their order is wrong."""


class UnknownLabelError(LabelsError):
    """A name is not one of the labels in use."""


class PatchNameError(RebenError, ValueError):
    """A text is not the name of a patch."""


class PixelsError(RebenError, ValueError):
    """The pixels of a band cannot be used as they are."""


class PatchShapeError(PixelsError):
    """A band has not the size of a patch."""


class PixelValueError(PixelsError):
    """Pixel values are in a wrong unit, of a wrong dtype, or not finite."""


class TiffError(RebenError, ValueError):
    """A file is not a single-band TIFF that can be read."""


class StoreError(RebenError, ValueError):
    """A folder is not a store, or a value in a store is damaged."""


class MissingPatchError(StoreError, LookupError):
    """A patch is not in the store."""


class EncodeError(RebenError, ValueError):
    """Files are damaged or missing, so not all of them became values of a store.

    ``report`` is the `reben.data.encoding.report.EncodeReport`, where the encoding came to its end.
    """

    report: Any = None


class ArchiveError(EncodeError):
    """An archive is damaged, ends too early, or holds what an archive of the data set may not."""


class UploadError(RebenError, ValueError):
    """Files that were uploaded to the demo page are not one patch, or more than it takes."""


class MetadataError(RebenError, ValueError):
    """A metadata table lacks columns or rows, or holds values that cannot be."""


class EmptySplitError(MetadataError):
    """The filters leave no patch."""


class ConfigError(RebenError, ValueError):
    """A setting is unknown or has a value that cannot be."""


class ModelError(RebenError, ValueError):
    """A model cannot be built or loaded."""


class BackboneError(ModelError):
    """The architecture is unknown to timm or cannot be built as asked."""


class ModelFolderError(ModelError):
    """A folder or repository holds no usable model."""


class WeightsMismatchError(ModelError):
    """Weights are missing, left over, or of another shape."""


class UnsafeWeightsError(ModelError):
    """Weights are pickled; opening them could run code, so reben never does."""


class ExportError(ModelError):
    """A model cannot be written in another format, or says something else there."""


class RunError(RebenError, ValueError):
    """A folder is not a training run, or the run lacks what is needed."""


class PredictError(RebenError, ValueError):
    """Patches are damaged, missing or otherwise unfit, so not all of them were predicted."""


class CardError(RebenError, ValueError):
    """A card folder is not fit to be published."""


class TrainingError(RebenError, RuntimeError):
    """Training cannot go on."""


class ProductError(RebenError, ValueError):
    """A product is not there, damaged, or not one that reben reads."""


class ProductLevelError(ProductError):
    """A product is of a level of processing that the models were not trained on."""


class MissingBandError(ProductError):
    """A product lacks a band that is needed."""


class UnknownOffsetError(ProductError):
    """Nothing says which offset the digital numbers carry, and reben does not guess."""


class OffsetConflictError(ProductError):
    """Two statements about the offset of the digital numbers contradict each other."""


class UnknownUnitError(ProductError):
    """Nothing says whether backscatter is in dB or linear, or what is said cannot be."""


class GridError(ProductError):
    """Bands do not lie on one north-up grid of 10 m in a projected reference system."""


class DownloadError(RebenError, OSError):
    """A file could not be fetched."""


class ChecksumError(DownloadError):
    """A file is not the one that was asked for."""


class HubError(RebenError, OSError):
    """The Hugging Face Hub does not do what was asked."""


class HubAuthError(HubError):
    """There is no token for the Hub, or the Hub does not let its owner do this."""


class HubNotFoundError(HubError):
    """The Hub has no such repository, branch, tag or owner."""


class HubConflictError(HubError):
    """A name on the Hub is taken, or what stands there is not what this would follow on."""


class HubConnectionError(HubError):
    """The Hub cannot be reached, or failed by a fault of its own."""


class OutputError(RebenError, OSError):
    """A file or folder cannot be written."""


class SceneError(RebenError, RuntimeError):
    """Scenes of a list were not all predicted, or the cluster for them cannot be reached."""


class MissingExtraError(RebenError, ImportError):
    """An optional dependency is not installed."""


def first_line(error: BaseException) -> str:
    """Return the first line of what another library's error says, without its full stop."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).strip().rstrip(".")
