-- wrk's request: the same as the load generator's.
wrk.method = "POST"
wrk.path = "/v1/chat/completions"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Accept"] = "application/json"
wrk.headers["Authorization"] = "Bearer sk-bench-0123456789abcdef0123456789abcdef01234567"
wrk.body = '{"model":"bench","temperature":0.7,"messages":[{"role":"system","content":"You are brief."},' ..
    '{"role":"user","content":"What is it? An ember is a glowing, hot coal of slowly burning fuel.\\n' ..
    'It \\"glows\\" long. ....................................."}]}'
