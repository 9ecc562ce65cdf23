[
  inputs: ["{mix,.formatter}.exs", "{config,lib,test,bench,demo,examples,mix}/**/*.{ex,exs}"],
  line_length: 120
]
