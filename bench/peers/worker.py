"""One Python tool with one network, for `sitting.py`: the protocol is that of rust/src/lib.rs.

worker.py TOOL NETWORK FOLDER BATCH THREADS infer|train
"""

import gc
import json
import os
import sys
import time
from pathlib import Path

import numpy as np

TOOL, NETWORK, FOLDER, BATCH, THREADS, MODE = sys.argv[1:]
FOLDER, BATCH, THREADS = Path(FOLDER), int(BATCH), int(THREADS)


def images():
    from safetensors.numpy import load_file

    return load_file(FOLDER / f"images-{BATCH}.safetensors")["images"]


# Each tool gives a function that runs one batch, and one that gives the last answer as an array.


def torch_setup():
    import networks
    import torch

    torch.set_num_threads(THREADS)
    torch.set_flush_denormal(True)
    net, x = networks.load(NETWORK, FOLDER), torch.from_numpy(images())
    return torch, net.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)


def torch_inference():
    torch, net, x = torch_setup()
    last = []
    if TOOL == "torch-compile":
        import torch._inductor.config as inductor

        inductor.freezing = True
        net = torch.compile(net)
    elif TOOL == "torch-frozen":
        with torch.no_grad():
            net = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(net, x)))
    # A compiled function with frozen weights wants no_grad.
    mode = torch.inference_mode if TOOL == "torch" else torch.no_grad

    def run():
        with mode():
            last[:] = [net(x)]

    return run, lambda: last[0].numpy()


def torch_training():
    torch, net, x = torch_setup()
    net.train()
    labels = torch.arange(BATCH) % (1000 if x.shape[-1] == 224 else 10)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.001, momentum=0.9, fused=True)
    call = torch.compile(net) if TOOL == "torch-compile" else net
    losses = []

    def run():
        optimiser.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(call(x), labels)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())

    return run, lambda: np.array(losses)


def onnxruntime():
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    options.add_free_dimension_override_by_name("N", BATCH)
    session = ort.InferenceSession(FOLDER / "model.onnx", options, providers=["CPUExecutionProvider"])
    x, last = ort.OrtValue.ortvalue_from_numpy(images()), []

    def run():
        last[:] = session.run_with_ort_values(["answer"], {"images": x})

    return run, lambda: last[0].numpy()


def openvino():
    import openvino as ov

    hint = "THROUGHPUT" if TOOL == "openvino-throughput" else "LATENCY"
    core = ov.Core()
    if TOOL == "openvino-cached":
        core.set_property({"CACHE_DIR": FOLDER / "openvino"})
    model, x = core.read_model(FOLDER / "model.onnx"), images()
    model.reshape(x.shape)
    properties = {"INFERENCE_NUM_THREADS": THREADS, "PERFORMANCE_HINT": hint, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(model, "CPU", properties)
    # The throughput hint answers several batches at once; a run is that many.
    count = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS") if hint == "THROUGHPUT" else 1
    requests = [compiled.create_infer_request() for _ in range(count)]
    for request in requests:
        request.set_input_tensor(ov.Tensor(x))

    def run():
        if count == 1:
            return requests[0].infer()
        for request in requests:
            request.start_async()
        for request in requests:
            request.wait()

    run.batches = count
    return run, lambda: np.array(requests[0].get_output_tensor().data)


def ncnn():
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = THREADS
    for option in dir(net.opt):
        if option.startswith(("use_fp16", "use_bf16")):
            setattr(net.opt, option, False)
    net.load_param(str(FOLDER / "model.ncnn.param"))
    net.load_model(str(FOLDER / "model.ncnn.bin"))
    batch = [ncnn.Mat(image).clone() for image in np.ascontiguousarray(images())]
    last = []

    def run():
        last.clear()
        for image in batch:
            extractor = net.create_extractor()
            extractor.input("in0", image)
            last.append(extractor.extract("out0")[1])

    return run, lambda: np.stack([np.array(answer).reshape(-1) for answer in last])


def mnn():
    import MNN.expr as expr
    from MNN import nn

    runtime = nn.create_runtime_manager(({"backend": "CPU", "numThread": THREADS, "precision": "high"},))
    net = nn.load_module_from_file(str(FOLDER / "model.mnn"), ["images"], ["answer"], runtime_manager=runtime)
    array = images()
    x, last = expr.const(array, list(array.shape), expr.NCHW), []

    def run():
        last[:] = [net.forward([x])[0].read()]

    return run, lambda: np.array(last[0]).reshape(BATCH, -1)


def reply(**values):
    print("@ " + json.dumps(values), flush=True)


def peak_mb():
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("VmHWM")).split()[1]) * 1024 / 1e6


def main():
    tool = TOOL.split("-")[0]
    makers = {"torch": torch_inference, "onnxruntime": onnxruntime, "openvino": openvino, "ncnn": ncnn, "mnn": mnn}
    run, answer = torch_training() if MODE == "train" else makers[tool]()
    batches = getattr(run, "batches", 1)
    run()
    reply(ready=True)
    gc.disable()
    for line in sys.stdin:
        what, _, argument = line.strip().partition(" ")
        if what == "run":
            times = []
            for _ in range(int(argument)):
                start = time.perf_counter()
                run()
                times.append(1000 * (time.perf_counter() - start) / batches)
            gc.collect()
            reply(ms=times)
        elif what == "answer":
            answer().astype(np.float32).tofile(argument)
            reply(written=True)
        else:
            break
    reply(peak_mb=peak_mb())
    # Some tools crash while the interpreter takes them down.
    sys.stdout.flush()
    os._exit(0)


main()
