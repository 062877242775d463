"""Reference networks of He et al.: residual (2015), pre-activation and shortcut ablations (2016).

Written for checking another implementation, not for speed. The definitions are those of the two
papers. Parameter names follow torchvision: `conv1`, `bn1`,
`layer1.0.conv1`, `layer1.0.bn1`, `layer1.0.downsample.0` (convolution), `layer1.0.downsample.1`
(batch norm), `fc`. Nets that need a last normalisation call it `norm`. A gate is `layer1.0.gate`.

    cifar(20)                              6n+2 layers, option A
    cifar(20, option="B"), cifar(20, plain=True), cifar(20, variant="akamaster")
    cifar(164, bottleneck=True, option="B", unit="full_preact", stride_in="1x1")
    cifar(20, skip=("exclusive", -6.0))
    imagenet(50, stride_in="1x1"), imagenet(34, option="A"), imagenet(18, plain=True)
    imagenet(50, unit="full_preact"), imagenet(50, unit="full_preact", stem="timm")
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

UNITS = ("original", "bn_after_add", "relu_before_add", "relu_only_preact", "full_preact")
SKIPS = ("identity", "constant", "exclusive", "shortcut_only", "conv1x1", "dropout")
STAGES = {
    18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3),
    152: (3, 8, 36, 3), 200: (3, 24, 36, 3),
}


def conv(cin: int, cout: int, k: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(cin, cout, k, stride, k // 2, bias=False)


class ZeroPad(nn.Module):
    """Option A: keep every stride-th row and column, add zero channels."""

    def __init__(self, cin: int, cout: int, stride: int, placement: str):
        super().__init__()
        extra = cout - cin
        self.stride = stride
        self.before = {"end": 0, "split": extra // 2}[placement]
        self.after = extra - self.before

    def forward(self, x):
        x = x[:, :, :: self.stride, :: self.stride]
        return F.pad(x, (0, 0, 0, 0, self.before, self.after))


class Block(nn.Module):
    """One residual unit (or its plain twin): two 3x3 convolutions, or 1x1, 3x3, 1x1."""

    def __init__(self, cin, width, stride, *, bottleneck=False, unit="original", option="B",
                 stride_in="3x3", placement="end", first=False, preact=True, plain=False,
                 skip=("identity",), stem="early"):
        super().__init__()
        assert unit in UNITS and skip[0] in SKIPS and option in "ABC"
        cout = 4 * width if bottleneck else width
        if bottleneck:
            s1, s2 = (stride, 1) if stride_in == "1x1" else (1, stride)
            convs = [conv(cin, width, 1, s1), conv(width, width, 3, s2), conv(width, cout, 1)]
        else:
            convs = [conv(cin, width, 3, stride), conv(width, cout, 3)]
        before = unit == "full_preact"
        self.depth, self.unit, self.plain, self.skip = len(convs), unit, plain, skip
        self.share = first and unit in ("full_preact", "relu_only_preact")
        self.preact = preact
        for i, c in enumerate(convs, 1):
            setattr(self, f"conv{i}", c)
            if i > 1 or not before or preact:
                setattr(self, f"bn{i}", nn.BatchNorm2d(c.in_channels if before else c.out_channels))
        self.downsample = None
        if plain:
            return
        changes = stride != 1 or cin != cout
        projects = option == "C" or skip[0] == "conv1x1" or (changes and option == "B")
        if stem == "timm":
            self.share = projects
        if projects:
            self.downsample = nn.Sequential(conv(cin, cout, 1, stride))
            if unit not in ("full_preact", "bn_after_add"):
                self.downsample.append(nn.BatchNorm2d(cout))
        elif changes:
            self.downsample = ZeroPad(cin, cout, stride, placement)
        if skip[0] in ("exclusive", "shortcut_only"):
            self.gate = nn.Conv2d(cin, cout, 1, stride)

    def branch(self, h):
        """The residual function F on the (possibly pre-activated) input `h`."""
        for i in range(1, self.depth + 1):
            c, last = getattr(self, f"conv{i}"), i == self.depth
            if self.unit == "full_preact":
                h = c(h if i == 1 else F.relu(getattr(self, f"bn{i}")(h)))
            else:
                h = c(h)
                if not (last and self.unit == "bn_after_add"):
                    h = getattr(self, f"bn{i}")(h)
                if not last or self.unit == "relu_before_add":
                    h = F.relu(h)
        return h

    def forward(self, x):
        h = x
        if self.unit == "full_preact" and self.preact:
            h = F.relu(self.bn1(x))
        elif self.unit == "relu_only_preact":
            h = F.relu(x)
        y = self.branch(h)
        if self.plain:
            if self.unit == "bn_after_add":
                y = getattr(self, f"bn{self.depth}")(y)
            return y if self.unit == "full_preact" else F.relu(y)
        s = h if self.share else x
        gate_input = s
        if self.downsample is not None:
            s = self.downsample(s)
        kind = self.skip[0]
        if kind == "constant":
            s, y = self.skip[1] * s, self.skip[2] * y
        elif kind == "dropout":
            s = F.dropout(s, self.skip[1], self.training)
        elif kind in ("exclusive", "shortcut_only"):
            g = torch.sigmoid(self.gate(gate_input))
            s = (1 - g) * s
            if kind == "exclusive":
                y = g * y
        y = y + s
        if self.unit == "bn_after_add":
            y = getattr(self, f"bn{self.depth}")(y)
        return F.relu(y) if self.unit in ("original", "bn_after_add") else y


class Net(nn.Module):
    def __init__(self, kind, counts, widths, *, classes, bottleneck, unit, classifier="fc", pool="pad", **block):
        super().__init__()
        self.kind, self.unit, self.classifier, self.pool = kind, unit, classifier, pool
        self.stages = len(counts)
        stem = 16 if kind == "cifar" else 64
        late = unit == "full_preact" and (kind == "cifar" or block.get("stem") == "timm")
        self.conv1 = conv(3, stem, 3) if kind == "cifar" else conv(3, stem, 7, 2)
        if not late:
            self.bn1 = nn.BatchNorm2d(stem)
        cin = stem
        for s, (count, width) in enumerate(zip(counts, widths)):
            layer = nn.Sequential()
            for b in range(count):
                layer.append(Block(
                    cin, width, 2 if s and not b else 1, bottleneck=bottleneck, unit=unit, first=not b,
                    preact=late or s > 0 or b > 0, **block))
                cin = 4 * width if bottleneck else width
            setattr(self, f"layer{s + 1}", layer)
        if unit == "full_preact":
            self.norm = nn.BatchNorm2d(cin)
        setattr(self, classifier, nn.Linear(cin, classes))

    def features(self, x):
        """The stage outputs, before the last activation: [stem, layer1, layer2, ...]."""
        x = self.conv1(x)
        if hasattr(self, "bn1"):
            x = F.relu(self.bn1(x))
        if self.kind == "imagenet":
            x = F.max_pool2d(x, 3, 2, 1) if self.pool == "pad" else F.max_pool2d(x, 3, 2, 0, ceil_mode=True)
        out = [x]
        for s in range(self.stages):
            out.append(getattr(self, f"layer{s + 1}")(out[-1]))
        return out

    def forward(self, x):
        x = self.features(x)[-1]
        if self.unit == "full_preact":
            x = F.relu(self.norm(x))
        elif self.unit == "relu_only_preact":
            x = F.relu(x)
        return getattr(self, self.classifier)(x.mean((2, 3)))


def cifar(depth, *, option="A", plain=False, bottleneck=False, unit="original", classes=10,
          stride_in="1x1", placement="end", skip=("identity",), variant=None) -> Net:
    per = 9 if bottleneck else 6
    assert (depth - 2) % per == 0, f"depth must be {per}n+2"
    n = (depth - 2) // per
    classifier = "fc"
    if variant == "akamaster":
        placement, classifier = "split", "linear"
    return Net("cifar", (n, n, n), (16, 32, 64), classes=classes, bottleneck=bottleneck, unit=unit,
               classifier=classifier, option=option, plain=plain, stride_in=stride_in,
               placement=placement, skip=skip)


def imagenet(depth, *, option="B", plain=False, unit="original", classes=1000, stride_in="3x3",
             placement="end", pool="pad", stem="early") -> Net:
    """stem (full_preact only): "early" puts BN and ReLU before the max pool and none in the first
    unit; "timm" puts none in the stem and the first unit's own after the pool."""
    return Net("imagenet", STAGES[depth], (64, 128, 256, 512), classes=classes, bottleneck=depth >= 50,
               unit=unit, option=option, plain=plain, stride_in=stride_in, placement=placement, pool=pool,
               stem=stem)


def initialise(net: nn.Module, fan: str = "fan_in") -> nn.Module:
    """He initialisation of convolutions, BN to (1, 0), gates' biases to the ablation's start value."""
    for m in net.modules():
        if isinstance(m, nn.Conv2d):
            nn.init.kaiming_normal_(m.weight, mode=fan, nonlinearity="relu")
        elif isinstance(m, nn.BatchNorm2d):
            nn.init.ones_(m.weight)
            nn.init.zeros_(m.bias)
        elif isinstance(m, nn.Linear):
            nn.init.uniform_(m.weight, -1 / math.sqrt(m.in_features), 1 / math.sqrt(m.in_features))
            nn.init.zeros_(m.bias)
    for m in net.modules():
        if isinstance(m, Block) and hasattr(m, "gate"):
            nn.init.constant_(m.gate.bias, m.skip[1])
    return net


def count(net: nn.Module, size: int) -> tuple[int, int]:
    """(parameters, multiply-adds of convolutions and linear layers on one size x size image)."""
    macs = 0

    def conv_hook(m, _, out):
        nonlocal macs
        macs += out[0].numel() * m.in_channels // m.groups * m.kernel_size[0] * m.kernel_size[1]

    def linear_hook(m, _, out):
        nonlocal macs
        macs += m.in_features * m.out_features

    hooks = [m.register_forward_hook(conv_hook if isinstance(m, nn.Conv2d) else linear_hook)
             for m in net.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    training = net.training
    net.eval()
    with torch.no_grad():
        net(torch.zeros(1, 3, size, size, device=next(net.parameters()).device))
    net.train(training)
    for h in hooks:
        h.remove()
    return sum(p.numel() for p in net.parameters()), macs
