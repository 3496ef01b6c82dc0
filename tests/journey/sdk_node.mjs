// What an OpenAI SDK for JavaScript makes of the gateway: reads cases from standard input, prints results as JSON.
// Each case: {name, base, params, options, leave}. Run by test_04_openai_node.py.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const require = createRequire(process.env.EMBERGATE_NODE_MODULES + '/x.js');
const { default: OpenAI } = await import(pathToFileURL(require.resolve('openai')).href.replace(/index\.js$/, 'index.mjs'));

let input = '';
for await (const piece of process.stdin)
  input += piece;

async function run({ base, params, options = {}, leave, models }) {
  const client = new OpenAI({ baseURL: base, apiKey: 'sk-test', maxRetries: 0, ...options });
  const out = { text: '', chunks: 0, finish: null, usage: null };
  try {
    if (models)
      return { names: (await client.models.list()).data.map((model) => model.id) };
    const { data, response } = await client.chat.completions.create(params).withResponse();
    out.id = response.headers.get('x-request-id');
    if (!params.stream) {
      out.text = data.choices[0].message.content;
      out.finish = data.choices[0].finish_reason;
      out.request = data._request_id;
      return out;
    }
    for await (const chunk of data) {
      out.chunks++;
      out.text += chunk.choices[0]?.delta?.content ?? '';
      out.finish = chunk.choices[0]?.finish_reason ?? out.finish;
      out.usage = chunk.usage ?? out.usage;
      if (leave && out.chunks >= leave)
        break;
    }
  } catch (error) {
    out.error = { name: error.constructor.name, status: error.status ?? null, code: error.code ?? null,
      param: error.param ?? null, message: String(error.message), request: error.requestID ?? null };
  }
  return out;
}

const results = {};
for (const one of JSON.parse(input))
  results[one.name] = await run(one);
console.log(JSON.stringify(results));
