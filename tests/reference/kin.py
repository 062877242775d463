"""Reference networks (PyTorch) for wide, dense, stochastic-depth, aggregated and gated residual nets.

CIFAR form throughout: 3 x 32 x 32 input, three groups at 32, 16 and 8 pixels, global average
pooling, one linear layer. Run as a program it writes the formula goldens (see formula.py for the
rule) and, with `counts`, prints parameters and multiply-adds. The golden files of the project
bear the registered names of their networks, of which the names here are aliases.

    python kin.py                 write every golden
    python kin.py NAME ...        write these goldens
    python kin.py looks           write the values from inside a net
    python kin.py counts          print the counts
"""

import os
import sys

import torch
import torch.nn.functional as F
from torch import nn

import formula

CLASSES = 10
SHAPE = (8, 3, 32, 32)
RULE = "plain"  # how gradients pass a ReLU: "plain", "guided" or "deconv"


class RuledRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp_min(0)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g.clamp_min(0) if RULE == "deconv" else g.clamp_min(0) * (x > 0)


def relu(x):
    return F.relu(x) if RULE == "plain" else RuledRelu.apply(x)


def conv(cin, cout, kernel, stride=1, groups=1):
    return nn.Conv2d(cin, cout, kernel, stride, kernel // 2, groups=groups, bias=False)


def projection(cin, cout, stride):
    """Shortcut of post-activation nets when the shape changes: 1x1 convolution, then batch norm."""
    return nn.Sequential(conv(cin, cout, 1, stride), nn.BatchNorm2d(cout))


class Head(nn.Module):
    """Mixin: pooled features to logits."""

    def classify(self, x):
        return self.fc(x.mean(dim=(2, 3)))


# ---------------------------------------------------------------- wide residual networks


class WideBlock(nn.Module):
    """Pre-activation block with one convolution per entry of `kernels`, all `cout` wide.

    Where the width changes, the shortcut is a bare 1x1 convolution and it reads the block's
    first activation (shared with the residual branch); elsewhere it is the untouched input.
    Only the first convolution has the stride. Dropout sits before the last convolution.
    """

    def __init__(self, cin, cout, stride, kernels, dropout=0.0):
        super().__init__()
        self.length = len(kernels)
        for j, k in enumerate(kernels, 1):
            width = cin if j == 1 else cout
            self.add_module(f"bn{j}", nn.BatchNorm2d(width))
            self.add_module(f"conv{j}", conv(width, cout, k, stride if j == 1 else 1))
        self.downsample = nn.Sequential(conv(cin, cout, 1, stride)) if cin != cout else None
        self.dropout = dropout

    def forward(self, x):
        first = relu(self.bn1(x))
        shortcut = x if self.downsample is None else self.downsample(first)
        out = self.conv1(first)
        for j in range(2, self.length + 1):
            out = relu(getattr(self, f"bn{j}")(out))
            if j == self.length and self.dropout:
                out = F.dropout(out, self.dropout, self.training)
            out = getattr(self, f"conv{j}")(out)
        return shortcut + out


class WideResNet(Head):
    """`blocks` blocks in each of three groups of 16k, 32k and 64k channels; stem of 16."""

    def __init__(self, blocks, widen, kernels=(3, 3), classes=CLASSES, dropout=0.0):
        super().__init__()
        self.conv1 = conv(3, 16, 3)
        cin = 16
        for g in range(3):
            cout = 16 * widen << g
            layers = []
            for b in range(blocks):
                layers.append(WideBlock(cin, cout, 2 if g and not b else 1, kernels, dropout))
                cin = cout
            self.add_module(f"layer{g + 1}", nn.Sequential(*layers))
        self.norm = nn.BatchNorm2d(cin)
        self.fc = nn.Linear(cin, classes)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(self.conv1(x))))
        return self.classify(relu(self.norm(x)))


def wrn(depth, widen, kernels=(3, 3), classes=CLASSES):
    """By the depth of the B(3,3) net with as many blocks: depth = 6 N + 4."""
    assert (depth - 4) % 6 == 0
    return WideResNet((depth - 4) // 6, widen, kernels, classes)


# ---------------------------------------------------------------- densely connected networks


class DenseLayer(nn.Module):
    """norm1-relu-conv1 (3x3), or with a bottleneck norm1-relu-conv1 (1x1, 4k)-norm2-relu-conv2."""

    def __init__(self, cin, growth, bottleneck):
        super().__init__()
        self.bottleneck = bottleneck
        self.norm1 = nn.BatchNorm2d(cin)
        if bottleneck:
            self.conv1 = conv(cin, 4 * growth, 1)
            self.norm2 = nn.BatchNorm2d(4 * growth)
            self.conv2 = conv(4 * growth, growth, 3)
        else:
            self.conv1 = conv(cin, growth, 3)

    def forward(self, x):
        out = self.conv1(relu(self.norm1(x)))
        if self.bottleneck:
            out = self.conv2(relu(self.norm2(out)))
        return torch.cat((x, out), 1)


class DenseBlock(nn.Module):
    def __init__(self, layers, cin, growth, bottleneck):
        super().__init__()
        for i in range(layers):
            self.add_module(f"denselayer{i + 1}", DenseLayer(cin + i * growth, growth, bottleneck))

    def forward(self, x):
        for layer in self.children():
            x = layer(x)
        return x


class Transition(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        self.norm = nn.BatchNorm2d(cin)
        self.conv = conv(cin, cout, 1)

    def forward(self, x):
        return F.avg_pool2d(self.conv(relu(self.norm(x))), 2)


class DenseNet(nn.Module):
    """`layers` per block (an int for three equal blocks, or a list); `imagenet` for the 7x7 stem."""

    def __init__(self, layers, growth, bottleneck, theta, stem, classes=CLASSES, imagenet=False):
        super().__init__()
        layers = [layers] * 3 if isinstance(layers, int) else layers
        parts = nn.Sequential()
        if imagenet:
            parts.add_module("conv0", nn.Conv2d(3, stem, 7, 2, 3, bias=False))
            parts.add_module("norm0", nn.BatchNorm2d(stem))
            parts.add_module("relu0", nn.ReLU())
            parts.add_module("pool0", nn.MaxPool2d(3, 2, 1))
        else:
            parts.add_module("conv0", conv(3, stem, 3))
        width = stem
        for b, count in enumerate(layers, 1):
            parts.add_module(f"denseblock{b}", DenseBlock(count, width, growth, bottleneck))
            width += count * growth
            if b < len(layers):
                parts.add_module(f"transition{b}", Transition(width, int(width * theta)))
                width = int(width * theta)
        parts.add_module("norm5", nn.BatchNorm2d(width))
        self.features = parts
        self.classifier = nn.Linear(width, classes)

    def forward(self, x):
        return self.classifier(relu(self.features(x)).mean(dim=(2, 3)))


def densenet(depth, growth, variant="", stem=None, classes=CLASSES):
    """Variant "", "b", "c" or "bc". Stem 16, or 2k for "bc" (the paper's rule)."""
    bottleneck = "b" in variant
    per_layer = 2 if bottleneck else 1
    assert (depth - 4) % (3 * per_layer) == 0
    stem = stem or (2 * growth if variant == "bc" else 16)
    return DenseNet((depth - 4) // (3 * per_layer), growth, bottleneck, 0.5 if "c" in variant else 1.0, stem, classes)


# ---------------------------------------------------------------- stochastic depth


class DropBlock2(nn.Module):
    """Post-activation basic block that may be skipped as a whole.

    Training: relu(b f(x) + id(x)) with b = 0 or 1, nothing rescaled; b = 0 leaves f uncomputed.
    Evaluation: relu(p f(x) + id(x)). id is x, or where the shape changes 2x2 average pooling
    and zero channels appended after the existing ones.
    """

    def __init__(self, cin, cout, stride, survival):
        super().__init__()
        self.conv1 = conv(cin, cout, 3, stride)
        self.bn1 = nn.BatchNorm2d(cout)
        self.conv2 = conv(cout, cout, 3)
        self.bn2 = nn.BatchNorm2d(cout)
        self.stride, self.extra = stride, cout - cin
        self.survival, self.open = survival, True

    def forward(self, x):
        out = F.avg_pool2d(x, 2) if self.stride == 2 else x
        if self.extra:
            out = F.pad(out, (0, 0, 0, 0, 0, self.extra))
        if self.open or not self.training:
            f = self.bn2(self.conv2(relu(self.bn1(self.conv1(x)))))
            out = out + (f if self.training else self.survival * f)
        return relu(out)


class StochasticDepthResNet(Head):
    """6n+2 layers, 3n blocks numbered 1..L; p_l = 1 - l/L (1 - p_L), or p_L for every block.

    `gated`: block l is open in the training pass exactly when unit("gates")[l-1] < p_l.
    """

    def __init__(self, n, last=0.5, uniform=False, gated=False, classes=CLASSES):
        super().__init__()
        self.conv1 = conv(3, 16, 3)
        self.bn1 = nn.BatchNorm2d(16)
        total, draw = 3 * n, formula.unit("gates", (3 * n,))
        cin, l = 16, 0
        for g in range(3):
            layers = []
            for b in range(n):
                l += 1
                p = last if uniform else 1.0 - l / total * (1.0 - last)
                block = DropBlock2(cin, 16 << g, 2 if g and not b else 1, p)
                block.open = not gated or bool(draw[l - 1] < p)
                layers.append(block)
                cin = 16 << g
            self.add_module(f"layer{g + 1}", nn.Sequential(*layers))
        self.fc = nn.Linear(cin, classes)

    def forward(self, x):
        x = relu(self.bn1(self.conv1(x)))
        return self.classify(self.layer3(self.layer2(self.layer1(x))))


# ---------------------------------------------------------------- aggregated (grouped) bottlenecks


class GroupedBottleneck(nn.Module):
    def __init__(self, cin, planes, stride, groups, base):
        super().__init__()
        width, cout = planes * base // 64 * groups, 4 * planes
        self.conv1 = conv(cin, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv(width, width, 3, stride, groups)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = conv(width, cout, 1)
        self.bn3 = nn.BatchNorm2d(cout)
        self.downsample = projection(cin, cout, stride) if stride != 1 or cin != cout else None

    def forward(self, x):
        out = relu(self.bn1(self.conv1(x)))
        out = relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return relu(out + (x if self.downsample is None else self.downsample(x)))


class CifarResNeXt(Head):
    """depth = 9 n + 2; stem of 64 channels; groups of 256, 512 and 1024 output channels."""

    def __init__(self, depth, groups, base, classes=CLASSES):
        super().__init__()
        assert (depth - 2) % 9 == 0
        self.conv1 = conv(3, 64, 3)
        self.bn1 = nn.BatchNorm2d(64)
        cin = 64
        for g in range(3):
            layers = []
            for b in range((depth - 2) // 9):
                layers.append(GroupedBottleneck(cin, 64 << g, 2 if g and not b else 1, groups, base))
                cin = 256 << g
            self.add_module(f"layer{g + 1}", nn.Sequential(*layers))
        self.fc = nn.Linear(cin, classes)

    def forward(self, x):
        x = relu(self.bn1(self.conv1(x)))
        return self.classify(self.layer3(self.layer2(self.layer1(x))))


# ---------------------------------------------------------------- squeeze and excitation


class SqueezeExcite(nn.Module):
    """Channel gate: sigmoid(fc2(relu(fc1(mean over pixels)))), 1x1 convolutions with bias."""

    def __init__(self, channels, reduction):
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // reduction, 1)
        self.fc2 = nn.Conv2d(channels // reduction, channels, 1)

    def forward(self, x):
        s = x.mean(dim=(2, 3), keepdim=True)
        return x * torch.sigmoid(self.fc2(relu(self.fc1(s))))


class SeBasicBlock(nn.Module):
    """Basic block, the gate after the last batch norm and before the addition."""

    def __init__(self, cin, cout, stride, reduction):
        super().__init__()
        self.conv1 = conv(cin, cout, 3, stride)
        self.bn1 = nn.BatchNorm2d(cout)
        self.conv2 = conv(cout, cout, 3)
        self.bn2 = nn.BatchNorm2d(cout)
        self.se = SqueezeExcite(cout, reduction)
        self.downsample = projection(cin, cout, stride) if stride != 1 or cin != cout else None

    def forward(self, x):
        out = self.bn2(self.conv2(relu(self.bn1(self.conv1(x)))))
        return relu(self.se(out) + (x if self.downsample is None else self.downsample(x)))


class SeResNet(Head):
    """6n+2 layers, groups of 16, 32 and 64 channels, projection shortcuts where the shape changes."""

    def __init__(self, n, reduction=16, classes=CLASSES):
        super().__init__()
        self.conv1 = conv(3, 16, 3)
        self.bn1 = nn.BatchNorm2d(16)
        cin = 16
        for g in range(3):
            layers = []
            for b in range(n):
                layers.append(SeBasicBlock(cin, 16 << g, 2 if g and not b else 1, reduction))
                cin = 16 << g
            self.add_module(f"layer{g + 1}", nn.Sequential(*layers))
        self.fc = nn.Linear(cin, classes)

    def forward(self, x):
        x = relu(self.bn1(self.conv1(x)))
        return self.classify(self.layer3(self.layer2(self.layer1(x))))


# ---------------------------------------------------------------- counts and goldens


def count(net, size=32):
    """(parameters, multiply-adds of convolutions and linear layers for one image, no biases)."""
    total = 0

    def hook(module, inputs, output):
        nonlocal total
        per_output = module.weight[0].numel()
        total += output[0].numel() * per_output

    handles = [m.register_forward_hook(hook) for m in net.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    was = net.training
    net.eval()
    with torch.no_grad():
        net(torch.zeros(1, 3, size, size))
    net.train(was)
    for h in handles:
        h.remove()
    return sum(p.numel() for p in net.parameters()), total


GOLDENS = {
    "wrn_16_1": lambda: wrn(16, 1),
    "wrn_16_4": lambda: wrn(16, 4),
    "wrn_28_2": lambda: wrn(28, 2),
    "wrn_16_2_b31": lambda: wrn(16, 2, (3, 1)),
    "wrn_16_2_b13": lambda: wrn(16, 2, (1, 3)),
    "wrn_16_2_b131": lambda: wrn(16, 2, (1, 3, 1)),
    "wrn_16_2_b311": lambda: wrn(16, 2, (3, 1, 1)),
    "wrn_16_2_b313": lambda: wrn(16, 2, (3, 1, 3)),
    "wrn_16_2_b3": lambda: wrn(16, 2, (3,)),
    "wrn_10_2_b333": lambda: wrn(10, 2, (3, 3, 3)),
    "densenet_40_12": lambda: densenet(40, 12),
    "densenet_b_40_12": lambda: densenet(40, 12, "b"),
    "densenet_c_40_12": lambda: densenet(40, 12, "c"),
    "densenet_bc_40_12": lambda: densenet(40, 12, "bc"),
    "densenet_bc_100_12": lambda: densenet(100, 12, "bc"),
    "sd_resnet110": lambda: StochasticDepthResNet(18),
    "sd_resnet20_gated": lambda: StochasticDepthResNet(3, gated=True),
    "resnext29_8x16d": lambda: CifarResNeXt(29, 8, 16),
    "se_resnet20": lambda: SeResNet(3),
}


def summary(name, m):
    """A map too large to list: its norm, its sum weighted by formula values, its largest magnitude."""
    probe = torch.from_numpy(formula.symmetric("look." + name, tuple(m.shape)))
    return {"shape": list(m.shape), "norm": float(m.norm()), "probe": float((m * probe).sum()), "max": float(m.abs().max())}


def prepared(net):
    """Formula weights, running statistics of the training batch, evaluation mode, f64."""
    net = formula.fill(net).double()
    net.train()
    with torch.no_grad():
        net(formula.image_batch(SHAPE).double())
    return net.eval()


def looks():
    """Ways of looking inside, on the post-activation ResNet-20 with every survival probability 1."""
    global RULE
    net = prepared(StochasticDepthResNet(3, last=1.0))
    images = formula.image_batch(SHAPE, "input2").double()
    targets = formula.labels(SHAPE[0], CLASSES)
    x = images[:1]
    out = {"net": "StochasticDepthResNet(3, last=1.0)", "input": [1, 3, 32, 32]}
    with torch.no_grad():
        logits = net(x)[0]
    c = int(logits.argmax())
    out["logits"], out["class"] = logits.tolist(), c

    def score_gradient(at):
        at = at.detach().requires_grad_()
        score = net(at)[:, c].sum()
        return score.item(), torch.autograd.grad(score, at)[0]

    _, plain = score_gradient(x)
    out["gradient"] = summary("gradient", plain)
    saliency = plain.abs().amax(1)[0]
    out["saliency"] = summary("saliency", saliency)
    out["gradient_x_input"] = float((plain * x).sum())
    for RULE in ("guided", "deconv"):
        out[RULE] = summary(RULE, score_gradient(x)[1])
    RULE = "plain"
    noise = torch.from_numpy(formula.symmetric("noise", (8, 3, 32, 32))) * 3**0.5
    spread = 0.1 * (x.max() - x.min())
    smooth = torch.stack([score_gradient(x + spread * n[None])[1] for n in noise]).mean(0)
    out["smoothgrad"] = summary("smoothgrad", smooth)
    steps = 64
    with torch.no_grad():
        gap = float(net(x)[0, c] - net(torch.zeros_like(x))[0, c])
    total = sum(score_gradient((i + 0.5) / steps * x)[1] for i in range(steps)) / steps
    attribution = total * x
    out["integrated"] = dict(summary("integrated", attribution), steps=steps, sum=float(attribution.sum()), gap=gap)

    kept = {}

    def keep(name):
        def hook(module, inputs, output):
            if output.requires_grad:
                output.retain_grad()
            kept[name] = output
        return hook

    handle = net.layer3.register_forward_hook(keep("layer3"))
    net(x.detach().requires_grad_())[0, c].backward()
    handle.remove()
    a, g = kept["layer3"].detach()[0], kept["layer3"].grad[0]
    weights = g.mean((1, 2))
    out["gradcam"] = (weights[:, None, None] * a).sum(0).clamp_min(0).tolist()
    alpha = g**2 / (2 * g**2 + a.sum((1, 2))[:, None, None] * g**3 + 1e-6)
    alpha = torch.where(g != 0, alpha, torch.zeros_like(alpha))
    weights = (g.clamp_min(0) * alpha).sum((1, 2))
    out["gradcam_pp"] = (weights[:, None, None] * a).sum(0).clamp_min(0).tolist()
    flat = a.reshape(a.shape[0], -1).T
    flat = flat - flat.mean(0)
    _, s, vt = torch.linalg.svd(flat, full_matrices=False)
    eigen = (flat @ vt[0]).reshape(8, 8)
    out["eigencam_up_to_sign"] = (eigen * eigen.flatten()[eigen.abs().argmax()].sign()).tolist()
    out["eigencam_singular_values"] = s[:4].tolist()

    with torch.no_grad():
        rows = []
        for top in range(0, 32, 8):
            row = []
            for left in range(0, 32, 8):
                hidden = x.clone()
                hidden[:, :, top:top + 8, left:left + 8] = 0
                row.append(float(logits[c] - net(hidden)[0, c]))
            rows.append(row)
        out["occlusion_8_8"] = rows

    at, path = torch.zeros_like(x), []
    for _ in range(10):
        score, g = score_gradient(at)
        path.append(score)
        at = 0.99 * at + g / g.norm()
    out["activation_maximisation"] = dict(summary("maximised", at), scores=path)

    def invert(at):
        at = at.detach().requires_grad_()
        feature = lambda v: net.layer2(net.layer1(relu(net.bn1(net.conv1(v)))))
        goal = feature(x).detach()
        data = ((feature(at) - goal) ** 2).sum() / (goal**2).sum()
        bound = (at**6).sum()
        d, r, t = at[:, :, 1:, :-1], at[:, :, :-1, 1:], at[:, :, :-1, :-1]
        variation = ((d - t) ** 2 + (r - t) ** 2).sum()
        whole = data + 1e-4 * bound + 1e-3 * variation
        return data.item(), bound.item(), variation.item(), whole.item(), torch.autograd.grad(whole, at)[0]

    data, bound, variation, whole, g = invert(images[1:2])
    out["inversion_layer2"] = dict(summary("inversion", g), data=data, bound=bound, variation=variation, whole=whole)

    responses, handles = {}, []
    for name, m in net.named_modules():
        if isinstance(m, nn.BatchNorm2d):
            handles.append(m.register_forward_hook(
                lambda m, i, o, name=name: responses.__setitem__(name, float(o.std(unbiased=False)))))
    with torch.no_grad():
        net(images)
    for h in handles:
        h.remove()
    out["response_std"] = responses

    cross = lambda: float(F.cross_entropy(net(images), targets))
    with torch.no_grad():
        out["loss"] = cross()
        lesions = []
        for block in [b for layer in (net.layer1, net.layer2, net.layer3) for b in layer]:
            block.survival = 0.0
            lesions.append(cross())
            block.survival = 1.0
        out["lesion_loss"] = lesions
        first, second = net.layer2[1], net.layer2[2]
        net.layer2[1], net.layer2[2] = second, first
        out["swap_layer2_1_2_loss"] = cross()
        net.layer2[1], net.layer2[2] = first, second

        start = {n: p.clone() for n, p in net.named_parameters()}
        direction = {}
        for n, p in start.items():
            d = torch.from_numpy(formula.symmetric("direction." + n, tuple(p.shape)))
            if p.dim() <= 1:
                d = torch.zeros_like(d)
            else:
                norms = lambda t: t.flatten(1).norm(dim=1).reshape(-1, *[1] * (t.dim() - 1))
                d = d * norms(p) / (norms(d) + 1e-10)
            direction[n] = d
        landscape = {}
        for step in (-1.0, -0.5, 0.0, 0.5, 1.0):
            for n, p in net.named_parameters():
                p.copy_(start[n] + step * direction[n])
            landscape[str(step)] = cross()
        for n, p in net.named_parameters():
            p.copy_(start[n])
        out["landscape_filter_normalised"] = landscape

    at = images.detach().requires_grad_()
    middle = net.layer2(net.layer1(relu(net.bn1(net.conv1(at)))))
    g = torch.autograd.grad(middle[:, :, 8, 8].sum(), at)[0]
    field = g.abs().mean((0, 1))
    out["receptive_field_layer2"] = dict(summary("field", field), rows=field.sum(1).tolist())

    with torch.no_grad():
        features = net.layer3(net.layer2(net.layer1(relu(net.bn1(net.conv1(images)))))).mean((2, 3))
        centred = features - features.mean(0)
        s = torch.linalg.svdvals(centred)
        out["pca_explained"] = (s**2 / (s**2).sum())[:7].tolist()

    def branch_gradients():
        """Norm of the score's gradient through the identity path only and through everything."""
        at = x.detach().requires_grad_()
        return float(torch.autograd.grad(net(at)[0, c], at)[0].norm())

    everything = branch_gradients()
    for layer in (net.layer1, net.layer2, net.layer3):
        for block in layer:
            block.survival = 0.0
    out["identity_path_gradient_norm"], out["gradient_norm"] = branch_gradients(), everything

    dense = formula.fill(densenet(40, 12)).double()
    heat = []
    for b in (1, 2, 3):
        block = getattr(dense.features, f"denseblock{b}")
        first = block.denselayer1.conv1.weight.shape[1]
        after = getattr(dense.features, f"transition{b}").conv.weight if b < 3 else dense.classifier.weight
        weights = [layer.conv1.weight for layer in block.children()] + [after]
        table = []
        for w in weights:
            per_input = w.detach().abs().reshape(w.shape[0], w.shape[1], -1).mean((0, 2))
            sources = [per_input[:first].mean()] + [per_input[s:s + 12].mean() for s in range(first, len(per_input), 12)]
            table.append([float(v) for v in sources])
        heat.append(table)
    out["densenet_40_12_connection_strength"] = heat
    return out


def print_counts():
    def line(name, net, size=32):
        p, m = count(net, size)
        print(f"{name:28} {p:>12,} {m:>16,}")

    for depth, widen in ((16, 1), (16, 2), (16, 4), (16, 8), (16, 10), (22, 8), (22, 10), (28, 1), (28, 2), (28, 10),
                         (28, 12), (34, 2), (40, 1), (40, 2), (40, 4), (40, 8), (40, 10), (52, 1)):
        line(f"WRN-{depth}-{widen}", wrn(depth, widen))
        line(f"WRN-{depth}-{widen} (100 classes)", wrn(depth, widen, classes=100))
    print("block types, k = 2, N as in B(3,3) at that depth / N with that many convolutions")
    for kernels, depth in (((1, 3, 1), 40), ((3, 1), 40), ((1, 3), 40), ((3, 1, 1), 40), ((3, 3), 28), ((3, 1, 3), 22)):
        line(f"B{kernels} N={(depth - 4) // 6}", WideResNet((depth - 4) // 6, 2, kernels))
        if (depth - 4) % (3 * len(kernels)) == 0:
            n = (depth - 4) // (3 * len(kernels))
            line(f"B{kernels} N={n}", WideResNet(n, 2, kernels))
    for l in (1, 2, 3, 4):
        line(f"WRN-40-2 l={l} N={12 // l}", WideResNet(12 // l, 2, (3,) * l))
    for depth, growth, variant in ((40, 12, ""), (100, 12, ""), (100, 24, ""), (40, 12, "b"), (40, 12, "c"), (40, 12, "bc"),
                                   (100, 12, "bc"), (250, 24, "bc"), (190, 40, "bc"), (40, 36, "bc"), (40, 48, "bc"),
                                   (40, 60, "bc")):
        line(f"DenseNet{variant.upper()}-{depth}-{growth}", densenet(depth, growth, variant))
        line(f"DenseNet{variant.upper()}-{depth}-{growth} (100)", densenet(depth, growth, variant, classes=100))
        if variant != "bc":
            line(f"DenseNet{variant.upper()}-{depth}-{growth} stem 2k", densenet(depth, growth, variant, stem=2 * growth))
    for name, layers, growth in (("121", [6, 12, 24, 16], 32), ("161", [6, 12, 36, 24], 48), ("169", [6, 12, 32, 32], 32),
                                 ("201", [6, 12, 48, 32], 32), ("264", [6, 12, 64, 48], 32)):
        line(f"DenseNet-{name} (224)", DenseNet(layers, growth, True, 0.5, 2 * growth, 1000, True), 224)
    for n in (3, 18, 25, 200):
        line(f"ResNet-{6 * n + 2}, option A", StochasticDepthResNet(n))
    for groups, base in ((1, 64), (8, 16), (8, 64), (16, 64), (4, 24), (32, 4)):
        line(f"ResNeXt-29 {groups}x{base}d", CifarResNeXt(29, groups, base))
    for n in (3, 9, 18):
        line(f"SE-ResNet-{6 * n + 2}", SeResNet(n))


def main():
    if sys.argv[1:] == ["counts"]:
        return print_counts()
    out = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden", "formula")
    os.makedirs(out, exist_ok=True)
    names = sys.argv[1:] or [*GOLDENS, "looks"]
    if "looks" in names:
        names.remove("looks")
        formula.write(os.path.join(out, "looks_resnet20.json"), looks())
        print("looks", flush=True)
    for name in names:
        record = formula.golden(GOLDENS[name], SHAPE, CLASSES)
        formula.write(os.path.join(out, name + ".json"), record)
        print(name, record["parameters"], f"{record['loss']:.6f}", record["f32_error"], flush=True)


if __name__ == "__main__":
    main()
