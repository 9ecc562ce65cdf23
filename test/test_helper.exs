ExUnit.start(capture_log: true, exclude: [:property, :chaos, :cluster, :soak])
