"""The networks of the yardstick: definition, weights, and the file that each tool reads.

A network's folder holds `weights.safetensors` (PyTorch, residuum), `model.onnx` (ONNX Runtime, OpenVINO, rten, tract),
`model.ncnn.*`, `model.mnn`, and `layers.json` with `layers.safetensors` (candle, burn), for their training
`training.json` with `training.safetensors`; for each batch `images-N.safetensors` and PyTorch's answer `answer-N.f32`.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "reference"))
import he  # noqa: E402
import kin  # noqa: E402


def torchvision(name):
    import torchvision.models as models

    return lambda: models.get_model(name)


# Name here: name in residuum, side of the images, definition.
NETWORKS = {
    "resnet18": ("resnet18", 224, torchvision("resnet18")),
    "resnet34": ("resnet34", 224, torchvision("resnet34")),
    "resnet50": ("resnet50.tv", 224, torchvision("resnet50")),
    "resnet152": ("resnet152.tv", 224, torchvision("resnet152")),
    "wide_resnet50_2": ("wide_resnet50_2", 224, torchvision("wide_resnet50_2")),
    "densenet121": ("densenet121", 224, torchvision("densenet121")),
    "resnet20": ("cifar_resnet20", 32, lambda: he.cifar(20)),
    "resnet110": ("cifar_resnet110", 32, lambda: he.cifar(110)),
    "wrn_16_4": ("wrn_16_4", 32, lambda: kin.wrn(16, 4)),
    "wrn_28_10": ("wrn_28_10", 32, lambda: kin.wrn(28, 10)),
    "densenet_bc_100_12": ("cifar_densenet_bc_100_12", 32, lambda: kin.densenet(100, 12, "bc")),
}


def zero_pad(self, x):
    """Option A. To pool single pixels is to take every second one, in a form that every tool can read."""
    x = x[:, :, ::2, ::2] if self.training else F.max_pool2d(x, 1, 2)
    return F.pad(x, (0, 0, 0, 0, self.before, self.after))


he.ZeroPad.forward = zero_pad


def images(name, batch, seed=1):
    side = NETWORKS[name][1]
    return torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(seed))


def random_weights(name):
    """Random, with the running statistics of noise, so that no value is zero, huge or denormal."""
    torch.manual_seed(0)
    net = NETWORKS[name][2]()
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.0)
            nn.init.normal_(module.bias, 0.0, 0.1)
            module.momentum = None
    with torch.no_grad():
        for seed in (7, 8):
            net.train()(images(name, 8, seed))
    return {key: value for key, value in net.state_dict().items() if not key.endswith("num_batches_tracked")}


def load(name, folder):
    net = NETWORKS[name][2]()
    net.load_state_dict(load_file(folder / "weights.safetensors"), strict=False)
    return net.eval()


def prepare(name, batch, folder, is_training=False):
    """Writes whatever of the folder is not there yet. What only one peer reads may fail: that peer takes no part."""
    folder.mkdir(parents=True, exist_ok=True)
    once(folder / "weights.safetensors", lambda path: save_file(random_weights(name), path))
    once(folder / f"images-{batch}.safetensors", lambda path: save_file({"images": images(name, batch)}, path))
    once(folder / f"answer-{batch}.f32", lambda path: answer(name, folder, batch).tofile(path))
    if is_training:
        optional(folder / "training.json", lambda path: to_training_layers(name, folder, path))
        return
    once(folder / "model.onnx", lambda path: export(name, folder, path))
    optional(folder / "model.ncnn.param", lambda path: to_ncnn(name, folder, path))
    optional(folder / "model.mnn", lambda path: to_mnn(folder, path))
    optional(folder / "layers.json", lambda path: to_layers(folder / "model.onnx", folder / "layers.safetensors", path))


def once(path, write):
    """Under another name until it is complete, so that a file which is there is a whole one."""
    if not path.exists():
        print(f"writing {path}", file=sys.stderr)
        new = path.with_name("new-" + path.name)
        write(new)
        new.replace(path)


def optional(path, write):
    try:
        once(path, write)
    except subprocess.CalledProcessError as error:
        print(f"  {path.name}: not written: {Path(error.cmd[0]).name} ended with status {error.returncode}", file=sys.stderr)
    except (ImportError, OSError, ValueError) as error:
        print(f"  {path.name}: not written: {error}", file=sys.stderr)


def answer(name, folder, batch):
    with torch.no_grad():
        return load(name, folder)(images(name, batch)).numpy()


def export(name, folder, path, is_training=False):
    """Batch norms are folded into the filters, or all kept for training."""
    import onnxruntime

    mode = torch.onnx.TrainingMode.PRESERVE if is_training else torch.onnx.TrainingMode.EVAL
    axes = {"images": {0: "N"}, "answer": {0: "N"}}
    with tempfile.TemporaryDirectory() as scratch:
        raw = f"{scratch}/raw.onnx"
        torch.onnx.export(load(name, folder), (images(name, 2),), raw, input_names=["images"], output_names=["answer"],
                          dynamic_axes=axes, opset_version=17, dynamo=False, training=mode,
                          do_constant_folding=not is_training)
        # Constants folded, so that readers with fewer operations find only those of the network.
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(path)
        kept = ["ConvBNFusion", "ConvMulFusion", "ConvAddFusion"] if is_training else []
        onnxruntime.InferenceSession(raw, options, providers=["CPUExecutionProvider"], disabled_optimizers=kept)


def to_ncnn(name, folder, path):
    side = NETWORKS[name][1]
    with tempfile.TemporaryDirectory() as scratch:
        with torch.no_grad():
            torch.jit.trace(load(name, folder), images(name, 1)).save(f"{scratch}/net.pt")
        pnnx = Path(sys.executable).parent / "pnnx"
        quietly([pnnx, "net.pt", f"inputshape=[1,3,{side},{side}]", "fp16=0"], cwd=scratch)
        for part, file in (("bin", folder / "model.ncnn.bin"), ("param", path)):
            file.write_bytes(Path(scratch, f"net.ncnn.{part}").read_bytes())


def to_mnn(folder, path):
    # What the command `mnnconvert` calls, without what that does besides.
    convert = [sys.executable, "-c", "import sys, _tools; _tools.mnnconvert(sys.argv)"]
    quietly([*convert, "-f", "ONNX", "--modelFile", folder / "model.onnx", "--MNNModel", path, "--bizCode", "peers"])


def quietly(command, **options):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)


def to_training_layers(name, folder, path):
    with tempfile.TemporaryDirectory() as scratch:
        export(name, folder, Path(scratch, "training.onnx"), is_training=True)
        to_layers(Path(scratch, "training.onnx"), folder / "training.safetensors", path, is_training=True)


def to_layers(model, weights_path, path, is_training=False):
    """An ONNX file as a list of layers: norms as factors and summands, or in training as such."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(model).graph
    known = {t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in graph.initializer}
    value, layers, weights = {"images": 0}, [], {}

    def keep(name, tensor):
        weights[name] = tensor.float().contiguous()
        return name

    for node in graph.node:
        has = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        known_inputs = [name for name in node.input[1:] if name in known]
        inputs = [value[name] for name in node.input if name in value]
        layer = {"inputs": inputs}
        match node.op_type:
            case "Constant":
                known[node.output[0]] = torch.from_numpy(numpy_helper.to_array(has["value"]).copy())
                continue
            case "Identity" if node.input[0] in known:
                known[node.output[0]] = known[node.input[0]]
                continue
            case "Identity" | "Flatten":
                value[node.output[0]] = inputs[0]
                continue
            case "Conv":
                layer |= {"op": "conv", "stride": has["strides"][0], "padding": has["pads"][0]}
                layer["weights"] = [keep(name, known[name]) for name in known_inputs]
            case "Gemm":
                layer |= {"op": "linear", "weights": [keep(name, known[name]) for name in known_inputs]}
            case "BatchNormalization" if is_training:
                layer |= {"op": "norm", "epsilon": has["epsilon"]}
                layer["weights"] = [keep(name, known[name]) for name in known_inputs[:2]]
            case "BatchNormalization":
                scale, shift, mean, variance = (known[name] for name in known_inputs)
                factor = scale / torch.sqrt(variance + has["epsilon"])
                name = node.output[0]
                layer |= {"op": "affine"}
                layer["weights"] = [keep(name + ".scale", factor), keep(name + ".shift", shift - factor * mean)]
            case "MaxPool" | "AveragePool":
                layer |= {"op": "max_pool" if node.op_type == "MaxPool" else "avg_pool"}
                layer |= {"kernel": has["kernel_shape"][0], "stride": has["strides"][0], "padding": has["pads"][0]}
            case "GlobalAveragePool" | "ReduceMean":
                layer |= {"op": "mean"}
            case "Pad":
                pads = known[node.input[1]].tolist()
                layer |= {"op": "pad", "channels": [pads[1], pads[5]]}
            case "Relu" | "Add" | "Concat":
                layer |= {"op": node.op_type.lower()}
            case other:
                raise ValueError(f"{node.name}: no layer for {other}")
        layers.append(layer)
        value[node.output[0]] = len(layers)
    save_file(weights, weights_path)
    path.write_text(json.dumps(layers))
