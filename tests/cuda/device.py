"""A CUDA device that is not there: its tensors say `cuda:0`, compute on the CPU, and refuse what a CUDA device refuses.

What it knows of the real thing:
  * host and device do not mix, except host scalars of no dimension in an operation
  * copies between them are counted, and so is everything that asks for a number: both wait, unless the copy is to or
    from pinned memory and says `non_blocking`; then the host must not touch that memory before it has waited
  * a capture refuses copies and questions, runs nothing (what it wrote is put back, what it made is poisoned), and
    replays on the memory that it was captured on
  * who reads on a stream must have waited for who wrote on another (vector clocks)
"""

import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

CUDA = torch.device("cuda", 0)
QUESTIONS = {
    f"aten::{name}"
    for name in (
        "nonzero", "masked_select", "equal", "is_nonzero", "_unique2", "unique_dim", "unique_consecutive",
        "_local_scalar_dense", "allclose", "item", "bincount",
    )
}  # fmt: skip
INDEXING = {"aten::index", "aten::index_put_", "aten::_index_put_impl_", "aten::index_put"}
KERNELS = {"aten::baddbmm": 2}  # the bias is copied, then the product added
ADAM_TENSORS_PER_KERNEL = 36
BYTES = torch.uint8
_SKIPPED = ("/torch/", "/cuda/device.py", "/cuda/runtime.py", "/warp/__init__", "/warp/_src", "contextlib.py", "<")


class CaptureError(RuntimeError):
    """Something is not permitted while a stream captures."""


class SimulatedTensor(torch.Tensor):
    """A tensor of the device."""

    @staticmethod
    def __new__(cls, elem: torch.Tensor):
        wrapper = torch.Tensor._make_wrapper_subclass(
            cls,
            elem.shape,
            strides=elem.stride(),
            storage_offset=elem.storage_offset(),
            dtype=elem.dtype,
            layout=elem.layout,
            device=CUDA,
            requires_grad=False,
        )
        wrapper.elem = elem
        return wrapper

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return SimulatedDevice.present().call(func, args, kwargs or {})

    def __repr__(self):
        return f"Simulated({self.elem!r})"

    def tolist(self):
        return self.cpu().tolist()

    def numpy(self, *_, **__):
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first.")

    def __array__(self, *_, **__):
        return self.numpy()

    def __deepcopy__(self, memo):
        return SimulatedTensor(self.elem.clone())


def memory(tensor: torch.Tensor) -> int:
    """Return what stands for a tensor's memory: equal for views of one storage."""
    return tensor.untyped_storage().data_ptr()


def site() -> str:
    """Return where the suite is now: the innermost line that is neither torch's, Warp's nor the simulation's."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        path = frame.f_code.co_filename
        if not any(part in path for part in _SKIPPED):
            return f"{path.split('trl_suite/')[-1]}:{frame.f_lineno}"
        frame = frame.f_back
    return "?"


class _Flight(NamedTuple):
    """A copy to or from pinned memory that the host has not waited for."""

    stream: int
    tick: int
    land: Callable[[], None]  # called when the host has waited


class SimulatedDevice(TorchDispatchMode):
    """The device; entered, it takes all operations of torch."""

    _present: "SimulatedDevice | None" = None

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()  # waits, kernels, graph launches, their kernels, bytes each way, captures
        self.where: Counter[tuple[str, ...]] = Counter()  # (kind, why, line) of what is counted
        self.faults: Counter[str] = Counter()  # races between streams, or of the host with a copy
        self.capture: _Capture | None = None
        self.stream, self.stream_names = 0, {0: "the default stream"}
        self._clock: dict[int, dict[int, int]] = defaultdict(lambda: defaultdict(int))  # stream -> stream -> tick
        self._wrote: dict[int, tuple[int, int]] = {}  # memory -> stream and tick
        self._read: dict[int, dict[int, int]] = {}
        self.pinned: set[int] = set()
        self._flights: list[_Flight] = []

    @classmethod
    def present(cls) -> "SimulatedDevice":
        assert cls._present is not None, "a tensor of the simulated device outlived it"
        return cls._present

    # --- streams

    def wait_for(self, stream: int, clock: dict[int, int]) -> None:
        """Let a stream go on only after what a clock knows."""
        for other, tick in clock.items():
            self._clock[stream][other] = max(self._clock[stream][other], tick)

    def clock_of(self, stream: int) -> dict[int, int]:
        return dict(self._clock[stream])

    def touch(self, reads: Collection[int], writes: Collection[int]) -> None:
        """Take note that the current stream reads and writes memory; a race is a fault."""
        if self.capture is not None:
            return
        stream, clock = self.stream, self._clock[self.stream]
        clock[stream] += 1
        for place in {*reads, *writes}:
            writer = self._wrote.get(place)
            if writer is not None and clock[writer[0]] < writer[1]:
                self._race(f"uses what {self.stream_names[writer[0]]} wrote")
        for place in writes:
            for reader, tick in self._read.pop(place, {}).items():
                if clock[reader] < tick:
                    self._race(f"overwrites what {self.stream_names[reader]} reads")
            self._wrote[place] = (stream, clock[stream])
        for place in reads:
            self._read.setdefault(place, {})[stream] = clock[stream]

    def _race(self, what: str) -> None:
        self.faults[f"{self.stream_names[self.stream]} {what} without waiting, at {site()}"] += 1

    def fresh(self, places: Collection[int]) -> None:
        """Take note that this memory was just allocated: what happened there before was another tensor's."""
        for place in places:
            self._wrote.pop(place, None)
            self._read.pop(place, None)

    def wait(self, why: str, stream: int | None = None) -> None:
        """Let the host wait for a stream."""
        if self.capture is not None:
            raise CaptureError(f"CUDA error: operation not permitted when stream is capturing: {why} at {site()}")
        self.count["waits"] += 1
        self.where[("wait", why, site())] += 1
        self.land(self._clock[self.stream if stream is None else stream])

    def land(self, clock: dict[int, int]) -> None:
        """Let the host know that what a clock knows is done: copies that were under way have arrived."""
        landed = [flight for flight in self._flights if clock.get(flight.stream, 0) >= flight.tick]
        self._flights = [flight for flight in self._flights if clock.get(flight.stream, 0) < flight.tick]
        for flight in landed:
            flight.land()

    # --- operations

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return self.call(func, args, kwargs or {})

    def call(self, func: Any, args: Any, kwargs: Any) -> Any:
        name = func._schema.name
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        if not any(isinstance(tensor, SimulatedTensor) for tensor in tensors) and not _on_cuda(kwargs.get("device")):
            return self._on_host(func, args, kwargs)
        if name == "aten::_to_copy":
            return self._moved(args[0], kwargs)
        if name == "aten::copy_" and isinstance(args[0], SimulatedTensor) != isinstance(args[1], SimulatedTensor):
            return self._copied(args[0], args[1], kwargs.get("non_blocking", len(args) > 2 and args[2]))
        if name in QUESTIONS:
            self.wait(name)
        elif name in INDEXING:
            self._index(name, args)
        else:
            self._refuse_mixture(func, name, tensors, args, kwargs)
        return self.run(func, args, kwargs)

    def _on_host(self, func: Any, args: Any, kwargs: Any) -> Any:
        if not kwargs.get("pin_memory"):
            return func(*args, **kwargs)
        out = func(*args, **{**kwargs, "pin_memory": False})
        self.pinned.add(memory(out))
        return out

    def _index(self, name: str, args: Any) -> None:
        for index in args[1]:
            if isinstance(index, torch.Tensor):
                if not isinstance(index, SimulatedTensor):
                    self._transfer("to device", f"{name}'s index", index)
                if index.dtype in (torch.bool, torch.uint8):
                    self.wait(f"{name} by a mask")
        if name != "aten::index" and _host_array(args[2]):
            raise RuntimeError(f"Expected all tensors to be on the same device: {name}'s value on cpu at {site()}")

    def _refuse_mixture(self, func: Any, name: str, tensors: list[torch.Tensor], args: Any, kwargs: Any) -> None:
        if name != "aten::set_" and any(_host_array(tensor) for tensor in tensors):
            raise RuntimeError(
                f"Expected all tensors to be on the same device, but found cuda:0 and cpu ({name} at {site()})"
            )
        written = _written(func, args, kwargs) if func._schema.is_mutable else []
        if any(not isinstance(tensor, SimulatedTensor) for tensor in written):
            raise RuntimeError(f"a host tensor is written by {name} from the device at {site()}")

    def _transfer(self, way: str, why: str, tensor: torch.Tensor, blocks: bool = True) -> None:
        """Count a copy between host and device."""
        if self.capture is not None:
            raise CaptureError(
                "Cannot copy between CPU and CUDA tensors during CUDA graph capture unless the CPU tensor is pinned: "
                f"{way}, {tuple(tensor.shape)}, {why} at {site()}"
            )
        self.count[f"bytes {way}"] += tensor.numel() * tensor.element_size()
        self.count[f"copies {way}"] += 1
        self.where[(way, why, site())] += 1
        if blocks:
            self.wait(f"copy {way}")

    def _moved(self, tensor: torch.Tensor, kwargs: Any) -> torch.Tensor:
        kwargs = dict(kwargs)
        target = kwargs.pop("device", None)
        non_blocking = kwargs.pop("non_blocking", False)
        here = isinstance(tensor, SimulatedTensor)
        if here and (target is None or _on_cuda(target)):
            return self.run(torch.ops.aten._to_copy.default, (tensor,), kwargs)
        elem = tensor.elem if here else tensor
        copy = torch.ops.aten._to_copy.default(elem, **kwargs)
        copy = copy.clone() if memory(copy) == memory(elem) else copy
        if here:
            self.touch({memory(elem)}, ())
            self._transfer("to host", "to", elem)
            return copy
        self._transfer("to device", "to", elem, blocks=not (non_blocking and memory(elem) in self.pinned))
        self.fresh({memory(copy)})
        self.touch((), {memory(copy)})
        return SimulatedTensor(copy)

    def _copied(self, target: torch.Tensor, source: torch.Tensor, non_blocking: bool) -> torch.Tensor:
        to_device = isinstance(target, SimulatedTensor)
        into, out_of = (tensor.elem if isinstance(tensor, SimulatedTensor) else tensor for tensor in (target, source))
        host = out_of if to_device else into
        flies = non_blocking and memory(host) in self.pinned
        self.touch((), {memory(into)}) if to_device else self.touch({memory(out_of)}, ())
        self._transfer("to device" if to_device else "to host", "copy_", source, blocks=not flies)
        into.copy_(out_of)
        if flies:
            self._fly(host, to_device)
        return target

    def _fly(self, host: torch.Tensor, to_device: bool) -> None:
        """Let a copy be under way: pinned memory that is read must stay, and what is written there comes later."""
        before, line = host.clone(), site()

        def land() -> None:
            if not to_device:
                host.copy_(before)
            elif not torch.equal(host.view(-1).view(BYTES), before.view(-1).view(BYTES)):
                self.faults[f"pinned memory was written while the copy at {line} read it"] += 1

        if not to_device:
            _poison(host)
        self._flights.append(_Flight(self.stream, self._clock[self.stream][self.stream], land))

    def run(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Run an operation of the device's tensors on those that they stand for."""
        wrappers: dict[int, torch.Tensor] = {}

        def plain(leaf: Any) -> Any:
            if isinstance(leaf, SimulatedTensor):
                wrappers[id(leaf.elem)] = leaf
                return leaf.elem
            return torch.device("cpu") if isinstance(leaf, torch.device) and leaf.type == "cuda" else leaf

        args, kwargs = tree_map(plain, (args, kwargs))
        if kwargs.get("device") is not None:
            kwargs["device"] = torch.device("cpu")
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        written = _written(func, args, kwargs) if func._schema.is_mutable else []
        if self.capture is not None:
            self.capture.save(written)
        out = func(*args, **kwargs)
        outputs = [leaf for leaf in tree_leaves(out) if isinstance(leaf, torch.Tensor)]
        reads = {memory(tensor) for tensor in inputs}
        view = outputs and not func._schema.is_mutable and all(memory(tensor) in reads for tensor in outputs)
        if not view:
            self._note(func, args, kwargs, out, reads, written, outputs)

        def wrapped(leaf: Any) -> Any:
            if not isinstance(leaf, torch.Tensor):
                return leaf
            return wrappers[id(leaf)] if id(leaf) in wrappers else SimulatedTensor(leaf)

        return tree_map(wrapped, out)

    def _note(self, func, args, kwargs, out, reads, written, outputs) -> None:
        kernels = KERNELS.get(func._schema.name, 1)
        if func._schema.name == "aten::_fused_adam_":
            kernels = max(1, -(-len(args[0]) // ADAM_TENSORS_PER_KERNEL))
        writes = {memory(tensor) for tensor in (*written, *outputs)}
        self.fresh(writes - reads)
        if self.capture is not None:
            self.capture.add(func, args, kwargs, out, reads, writes, kernels)
            return
        self.count["kernels"] += kernels
        self.where[("kernel", func._schema.name, site())] += kernels
        self.touch(reads, writes)

    def launched(self, arrays: Collection[int], work: Callable[[], Any], kernels: int = 1) -> None:
        """Do another library's work on memory of the device, or take it down where torch captures."""
        if self.capture is not None:
            self.capture.add_foreign(work, set(arrays), kernels)
            return
        self.count["kernels"] += kernels
        self.touch(arrays, arrays)
        work()


class Makers(TorchFunctionMode):
    """`torch.tensor` reaches no dispatch mode: it is made on the host and moved, which is what it does."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        makes = func in (torch.as_tensor, torch.tensor, torch.asarray) and _on_cuda(kwargs.get("device"))
        if makes and not isinstance(args[0], SimulatedTensor):
            device = kwargs.pop("device")
            return func(*args, **kwargs).to(device)
        return func(*args, **kwargs)


class SimulatedGraph:
    """A captured program."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], Any]] = []
        self.reads: set[int] = set()
        self.writes: set[int] = set()
        self.kernels, self.site = 0, ""

    def replay(self) -> None:
        device = SimulatedDevice.present()
        device.count["graph launches"] += 1
        device.count["graph kernels"] += self.kernels
        device.where[("graph", str(self.kernels), self.site)] += 1
        device.touch(self.reads, self.writes)
        for call in self.calls:
            call()

    def reset(self) -> None:
        self.calls = []


class _Capture:
    """What is taken down, and what it must leave untouched."""

    def __init__(self, graph: SimulatedGraph) -> None:
        self._graph = graph
        self._before: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}  # memory -> whole storage, as it was
        self._made: dict[int, torch.Tensor] = {}

    def save(self, tensors: list[torch.Tensor]) -> None:
        for tensor in tensors:
            place = memory(tensor)
            if place not in self._before and place not in self._made:
                whole = torch.empty(0, dtype=BYTES).set_(tensor.untyped_storage())
                self._before[place] = (whole, whole.clone())

    def add(self, func, args, kwargs, out, reads, writes, kernels) -> None:
        self._graph.reads |= reads
        self._graph.writes |= writes
        self._graph.kernels += kernels
        SimulatedDevice.present().where[("captured", func._schema.name, site())] += kernels
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor) and memory(leaf) not in reads:
                self._made[memory(leaf)] = leaf

        def again() -> None:
            for old, new in zip(tree_leaves(out), tree_leaves(func(*args, **kwargs)), strict=True):
                if isinstance(old, torch.Tensor) and old is not new and memory(old) != memory(new):
                    old.copy_(new)

        self._graph.calls.append(again)

    def add_foreign(self, work: Callable[[], Any], arrays: set[int], kernels: int) -> None:
        self._graph.reads |= arrays
        self._graph.writes |= arrays
        self._graph.kernels += kernels
        SimulatedDevice.present().where[("captured", "of another library", site())] += kernels
        self._graph.calls.append(work)

    def end(self) -> None:
        for whole, before in self._before.values():
            whole.copy_(before)
        for tensor in self._made.values():
            _poison(tensor)


def _poison(tensor: torch.Tensor) -> None:
    if tensor.is_floating_point():
        tensor.fill_(float("nan"))
    elif tensor.dtype != torch.bool:
        tensor.fill_(torch.iinfo(tensor.dtype).max)


def _on_cuda(device: Any) -> bool:
    return device is not None and torch.device(device).type == "cuda"


def _host_array(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and not isinstance(value, SimulatedTensor) and value.dim() > 0


def _written(func: Any, args: Any, kwargs: Any) -> list[torch.Tensor]:
    """Return the tensors that an operation's schema says it writes."""
    tensors: list[torch.Tensor] = []
    for place, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            value = kwargs.get(argument.name, args[place] if place < len(args) else None)
            tensors += [leaf for leaf in tree_leaves(value) if isinstance(leaf, torch.Tensor)]
    return tensors
