"""A runtime of MLServer that answers with ONNX Runtime."""

import numpy as np
import onnxruntime
from mlserver import MLModel, types
from mlserver.codecs import NumpyCodec


class OnnxRuntime(MLModel):
    async def load(self) -> bool:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(self.settings.parameters.uri, options)
        self.inputs = [self._metadata(entry) for entry in self._session.get_inputs()]
        self.outputs = [self._metadata(entry) for entry in self._session.get_outputs()]
        return True

    @staticmethod
    def _metadata(entry) -> types.MetadataTensor:
        shape = [size if isinstance(size, int) else -1 for size in entry.shape]
        return types.MetadataTensor(name=entry.name, datatype="FP32", shape=shape)

    async def predict(self, payload: types.InferenceRequest) -> types.InferenceResponse:
        feeds = {tensor.name: NumpyCodec.decode_input(tensor).astype(np.float32) for tensor in payload.inputs}
        names = [output.name for output in self._session.get_outputs()]
        found = zip(names, self._session.run(names, feeds), strict=True)
        outputs = [NumpyCodec.encode_output(name, array) for name, array in found]
        return types.InferenceResponse(model_name=self.name, outputs=outputs)
