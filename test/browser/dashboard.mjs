// What a site would write to upload to this server with Uppy; for a browser, bundled when the tests run.
import Uppy, { debugLogger } from '@uppy/core'
import Dashboard from '@uppy/dashboard'
import GoldenRetriever from '@uppy/golden-retriever'
import Tus from '@uppy/tus'

const { tus, goldenRetriever } = JSON.parse(new URLSearchParams(location.search).get('settings'))

new Uppy({ logger: debugLogger })
  .use(Dashboard, { inline: true, target: '#dashboard', width: '100%', showProgressDetails: true })
  .use(Tus, tus)
  .use(GoldenRetriever, goldenRetriever)
