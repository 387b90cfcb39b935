// What a site would write to upload to this server with Uppy; for a browser, bundled when the tests run.
import '@uppy/core/css/style.css'
import '@uppy/dashboard/css/style.css'
import Uppy, { debugLogger } from '@uppy/core'
import Dashboard from '@uppy/dashboard'
import GoldenRetriever from '@uppy/golden-retriever'
import Tus from '@uppy/tus'

const { endpoint, apiKey, retryDelays } = JSON.parse(new URLSearchParams(location.search).get('settings'))

new Uppy({ logger: debugLogger })
  .use(Dashboard, { inline: true, target: '#dashboard', showProgressDetails: true })
  .use(Tus, { endpoint, headers: { 'X-API-Key': apiKey }, retryDelays })
  .use(GoldenRetriever)
