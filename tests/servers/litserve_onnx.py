"""A service of LitServe with a form of its own: ``python litserve_onnx.py FILE PORT``."""

import sys

import litserve
import numpy as np
import onnxruntime


class Classifier(litserve.LitAPI):
    def setup(self, device) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(sys.argv[1], options)

    def decode_request(self, request):
        return np.array(request["instances"], np.float32)

    def predict(self, x):
        return self._session.run(None, {"x": x})[0]

    def encode_response(self, output):
        return {"predictions": [{"scores": row} for row in output.tolist()]}


if __name__ == "__main__":
    server = litserve.LitServer(Classifier(), accelerator="cpu")
    server.run(
        host="127.0.0.1", port=int(sys.argv[2]), generate_client_file=False, num_api_servers=1, log_level="error"
    )
