"""The engine behind HTTP: OpenAI's interface, and what servers of models offer besides.

service  errors                             what every route knows; what goes wrong, as clients read it
gate  access  limits  request_id            what every request passes
text  fields  sampling                      what may be asked for; what the engine is told of it
answers  scores  live                       answers on their way; of a prompt's tokens; to a client that may leave
structure  grammar                          answers of a form that was asked for
logprobs  usage                             parts of what is answered
calls  tools                                calls of functions, as text; those that an answer may make
completions  chat  responses                the ways to ask, each with its fields
torchserve  model_config                    the same in TorchServe's form
about  tokens  metrics                      the rest
chat_page  page/                            the page to chat on: where it is served; its files
app  lifecycle                              all of it together; its start and its end
"""
