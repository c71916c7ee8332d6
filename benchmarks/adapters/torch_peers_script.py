"""Run by torch_peers.py in another Python: trains one model of torchfm or deepctr-torch and prints a line of JSON.

Embeddings are dense and so is Adam's step over them, as in the libraries' examples; no dropout, on either side.
"""

import json
import sys
import time
import types

import numpy as np
import torch


def local_ids(request):
    """Training and validation rows with ids that start at 0 in every field, and the size of every field."""
    arrays = {part: np.load(request[part]) for part in ("train", "valid") if request[part]}
    ids = {part: array["ids"].astype(np.int64) for part, array in arrays.items()}
    first = np.minimum.reduce([table.min(0) for table in ids.values()])
    n_features = int(arrays["train"]["n_features"])
    sizes = np.diff(np.append(first, n_features)).tolist()
    return {part: (ids[part] - first, array["y"]) for part, array in arrays.items()}, sizes


def torchfm(request, parts, sizes):
    from torchfm.model.afm import AttentionalFactorizationMachineModel
    from torchfm.model.dfm import DeepFactorizationMachineModel

    k = request["n_factors"]
    if request["model"] == "deepfm":
        model = DeepFactorizationMachineModel(sizes, embed_dim=k, mlp_dims=request["hidden"], dropout=0.0)
    else:
        attention = request["attention_factors"]
        model = AttentionalFactorizationMachineModel(sizes, embed_dim=k, attn_size=attention, dropouts=(0.0, 0.0))
    adam = torch.optim.Adam(model.parameters(), lr=0.001, weight_decay=1e-6)
    loss_of = torch.nn.BCELoss()
    ids, y = (torch.from_numpy(array) for array in parts["train"])
    seconds = []
    for _ in range(request["epochs"]):
        order = torch.randperm(len(ids))
        model.train()
        began = time.perf_counter()
        for index in order.split(request["batch_size"]):
            loss = loss_of(model(ids[index]), y[index].float())
            model.zero_grad()
            loss.backward()
            adam.step()
        seconds.append(time.perf_counter() - began)

    def predict(ids):
        model.eval()
        with torch.no_grad():
            return torch.cat([model(part) for part in torch.from_numpy(ids).split(4096)]).numpy()

    return seconds, predict


def deepctr(request, parts, sizes):
    # When imported it asks the network for its newest version, through a package that it stops without.
    sys.modules.setdefault("requests", types.ModuleType("requests"))
    from deepctr_torch.inputs import SparseFeat
    from deepctr_torch.models import AFM, DeepFM

    columns = [SparseFeat(f"f{f}", n, embedding_dim=request["n_factors"]) for f, n in enumerate(sizes)]
    if request["model"] == "deepfm":
        model = DeepFM(columns, columns, dnn_hidden_units=tuple(request["hidden"]), device="cpu")
    else:
        model = AFM(columns, columns, attention_factor=request["attention_factors"], device="cpu")
    model.compile("adam", "binary_crossentropy")
    inputs = {part: {f"f{f}": ids[:, f] for f in range(len(sizes))} for part, (ids, _) in parts.items()}
    y = parts["train"][1]
    seconds = []
    for _ in range(request["epochs"]):
        began = time.perf_counter()
        model.fit(inputs["train"], y, batch_size=request["batch_size"], epochs=1, verbose=0)
        seconds.append(time.perf_counter() - began)
    return seconds, lambda _: model.predict(inputs["valid"], 4096)[:, 0]


def main():
    request = json.loads(sys.argv[1])
    torch.set_num_threads(request["n_threads"])
    torch.manual_seed(0)
    parts, sizes = local_ids(request)
    seconds, predict = {"torchfm": torchfm, "deepctr-torch": deepctr}[request["library"]](request, parts, sizes)
    logloss = None
    if request["valid"]:
        p = np.clip(predict(parts["valid"][0]).astype(np.float64), 1e-7, 1 - 1e-7)
        y = parts["valid"][1]
        logloss = float(-np.mean(y * np.log(p) + (1 - y) * np.log(1 - p)))
    print(json.dumps({"seconds": seconds, "valid_logloss": logloss}))


if __name__ == "__main__":
    main()
