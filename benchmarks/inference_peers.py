"""The contestants of inference.py that others made; each in an environment of its own.

All take the U-Net with ResNet18 of segmentation-models-pytorch, the same scene, windows
of 256 px that share 64 px, batches of 4 and probabilities that are blended, and write
classes and the probability of each pixel's class, packed by deflate.
"""

from inference_parts import (
    BATCH,
    NUM_BANDS,
    NUM_CLASSES,
    OVERLAP_PX,
    TILE_PX,
    rounds,
    tiles_of,
)


def network_of_smp():
    """The network, as fast as PyTorch has it on processors."""
    import segmentation_models_pytorch
    import torch

    torch.manual_seed(0)
    net = segmentation_models_pytorch.Unet(
        "resnet18", encoder_weights=None, in_channels=NUM_BANDS, classes=NUM_CLASSES
    )
    return net.eval().to(memory_format=torch.channels_last)


def write_maps(path, profile, prob):
    """Classes and their probabilities, from those of all classes (class, y, x)."""
    import numpy as np
    import rasterio

    profile |= {"count": 1, "compress": "deflate"}
    answers = (
        ("uint8", 255, 2, prob.argmax(0)),
        ("float32", np.nan, 3, prob.max(0)),
    )
    for dtype, nodata, predictor, values in answers:
        profile |= {"dtype": dtype, "nodata": nodata, "predictor": predictor}
        with rasterio.open(path, "w", **profile) as file:
            file.write(values.astype(dtype), 1)


def smp(path, number):
    """A plain blended loop around segmentation-models-pytorch, by rasterio."""
    import numpy as np
    import rasterio
    import torch
    from rasterio.windows import Window

    net = network_of_smp()
    ramp = np.clip((np.arange(TILE_PX) + 0.5) / OVERLAP_PX, 0, 1)
    side = np.sin(0.5 * np.pi * np.minimum(ramp, ramp[::-1])) ** 2
    weights = np.maximum(np.outer(side, side), 1e-4).astype("float32")

    def starts(size):
        step = TILE_PX - OVERLAP_PX
        return [*range(0, size - TILE_PX, step), size - TILE_PX]

    def work():
        with rasterio.open(path) as file:
            total = np.zeros((NUM_CLASSES, *file.shape), "float32")
            weight = np.zeros(file.shape, "float32")
            places = [(y, x) for y in starts(file.height) for x in starts(file.width)]
            for at in range(0, len(places), BATCH):
                batch = places[at : at + BATCH]
                windows = [Window(x, y, TILE_PX, TILE_PX) for y, x in batch]
                image = np.stack([file.read(window=window) for window in windows])
                with torch.inference_mode():
                    given = torch.from_numpy(image)
                    logits = net(given.contiguous(memory_format=torch.channels_last))
                    prob = torch.softmax(logits, 1).numpy()
                for (y, x), part in zip(batch, prob, strict=True):
                    total[:, y : y + TILE_PX, x : x + TILE_PX] += part * weights
                    weight[y : y + TILE_PX, x : x + TILE_PX] += weights
            profile = file.profile
        total /= weight
        write_maps(path.with_name("smp.tif"), profile, total)

    count = sum(value.numel() for value in net.parameters())
    return rounds(work, number) | {"parameters": count}


def smp_bare(path, number):
    """The network of segmentation-models-pytorch alone, on the windows."""
    import torch

    net = network_of_smp()
    tiles = torch.from_numpy(tiles_of(path)).permute(0, 3, 1, 2)

    def work():
        with torch.inference_mode():
            for batch in tiles.split(BATCH):
                net(batch.contiguous(memory_format=torch.channels_last))

    return rounds(work, number)


def geoai(path, number):
    """`geoai.inference.predict_geotiff`, from file to file."""
    import numpy as np
    import torch
    from geoai.inference import predict_geotiff

    net = torch.nn.Sequential(network_of_smp(), torch.nn.Softmax(1))

    def work():
        predict_geotiff(
            net,
            str(path),
            str(path.with_name("geoai.tif")),
            tile_size=TILE_PX,
            overlap=OVERLAP_PX,
            batch_size=BATCH,
            num_classes=NUM_CLASSES,
            preprocess_fn=lambda tile: tile,
            postprocess_fn=lambda prob: np.stack([prob.argmax(0), prob.max(0)]),
            compress="deflate",
            device="cpu",
            verbose=False,
        )

    return rounds(work, number)


def terratorch(path, number):
    """`terratorch.tasks.tiled_inference`, between reading and writing by rasterio."""
    import rasterio
    import torch
    from terratorch.tasks.tiled_inference import tiled_inference

    net = network_of_smp()

    def forward(windows):
        given = windows.contiguous(memory_format=torch.channels_last)
        return torch.softmax(net(given), 1)

    def work():
        with rasterio.open(path) as file:
            image, profile = torch.from_numpy(file.read())[None], file.profile
        prob = tiled_inference(
            forward,
            image,
            out_channels=NUM_CLASSES,
            crop=TILE_PX,
            stride=TILE_PX - OVERLAP_PX,
            delta=0,
            batch_size=BATCH,
        )
        write_maps(path.with_name("terratorch.tif"), profile, prob[0].numpy())

    return rounds(work, number)
