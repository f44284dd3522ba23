// The webhook. Deploy it after the code: before, the function has no keys.
param registryName string
param location string
param name string
param actions array

@description('The scope of the webhook: <repository>:<tag>, * for any tag, empty for all.')
param repositories string

@description('The resource id of the function.')
param functionId string
param keyName string

@secure()
param uri string

resource registry 'Microsoft.ContainerRegistry/registries@2025-11-01' existing = {
  name: registryName
}

resource webhook 'Microsoft.ContainerRegistry/registries/webhooks@2025-11-01' = {
  parent: registry
  name: name
  // The home region of the registry. With geo-replication, a webhook fires for the replica in its region.
  // https://learn.microsoft.com/azure/container-registry/container-registry-geo-replication
  location: location
  properties: {
    status: 'enabled'
    actions: actions
    scope: repositories
    serviceUri: uri
    customHeaders: {
      // Not in the URI, which appears in logs.
      // https://learn.microsoft.com/azure/azure-functions/function-keys-how-to
      'x-functions-key': listKeys(functionId, '2025-05-01')[keyName]
    }
  }
}
