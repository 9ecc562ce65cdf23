# A message that comes is waited for as long as a busy machine may take; no test hangs on how soon it comes.
ExUnit.start(
  capture_log: true,
  assert_receive_timeout: 5_000,
  exclude: [:property, :chaos, :cluster, :soak]
)
