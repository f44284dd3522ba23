// The webhook. To be deployed when the code is: before, the function has no keys.
param registryName string
param location string
param name string
param actions array

@description('What the webhook\'s scope is called here: <repository>:<tag>, * for any tag, empty for all.')
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
  // In a registry with replicas, the home region's; each replica tells of a push on its own.
  location: location
  properties: {
    status: 'enabled'
    actions: actions
    scope: repositories
    serviceUri: uri
    customHeaders: {
      // Not in the URI, which ends up in logs.
      'x-functions-key': listKeys(functionId, '2025-05-01')[keyName]
    }
  }
}
