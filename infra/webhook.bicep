// A webhook. Deploy it after the code: before, the function has no key.
param registryName string

@description('The region whose events the webhook sends. It cannot be changed later.')
param location string
param name string
param actions array

@description('The scope of the webhook: <repository>:<tag>, * for any tag, empty for everything.')
param repositories string

@description('The resource id of the function.')
param functionId string
param keyName string
param functionUrl string

resource registry 'Microsoft.ContainerRegistry/registries@2025-11-01' existing = {
  name: registryName
}

resource webhook 'Microsoft.ContainerRegistry/registries/webhooks@2025-11-01' = {
  parent: registry
  name: name
  location: location
  properties: {
    status: 'enabled'
    actions: actions
    scope: repositories
    serviceUri: '${functionUrl}?registry=${registry.properties.loginServer}&region=${toLower(replace(location, ' ', ''))}'
    customHeaders: {
      // In a header, as a URI appears in access logs.
      // https://learn.microsoft.com/azure/azure-functions/function-keys-how-to
      'x-functions-key': listKeys(functionId, '2025-03-01')[keyName]
    }
  }
}
