// All of it: the app with what it needs and what watches over it, in a resource group of its own,
// and the webhook, on a registry that is there already.
targetScope = 'subscription'

@description('The name of this deployment. The resource group is named after it.')
@minLength(1)
@maxLength(64)
param environmentName string

@description('Where the app runs. Near the registry it answers soonest.')
@metadata({ azd: { type: 'location' } })
param location string

@description('The resource id of the registry: az acr show --name <registry> --query id --output tsv')
param registryId string

@description('Whether to create the webhook. False until the code is deployed: before, the function has no key that the webhook could send. azd up sees to it.')
param createWebhook bool = false

@description('The webhook\'s name: 5 to 50 letters and digits.')
@minLength(5)
@maxLength(50)
param webhookName string = 'acrwebhook'

@description('What the webhook tells of.')
param webhookActions array = ['push', 'delete', 'quarantine', 'chart_push', 'chart_delete']

@description('Of which repositories and tags: empty for all, <repository>:* or <repository>:<tag> for some.')
param webhookScope string = ''

@description('Which of the function\'s keys the webhook sends.')
param keyName string = 'default'

@description('Whether what never arrived is recovered from the registry\'s record. Needs a role of its own on the registry, which is created.')
param recoverMissed bool = true

@description('When to recover, in the app\'s six-field form; every five minutes. Less often than every ten, the alert "unrecovered" needs a lower threshold.')
param reconcileSchedule string = '0 */5 * * * *'

@description('Instances that are always ready for deliveries. The registry waits five seconds, and a cold start may take longer: 0 saves money and loses deliveries, until they are recovered.')
@minValue(0)
param alwaysReadyInstances int = 1

@description('The most instances there may be at a time.')
@minValue(40)
@maxValue(1000)
param maximumInstances int = 100

@description('Memory of an instance, in MB.')
@allowed([512, 2048, 4096])
param instanceMemoryMB int = 2048

@description('More app settings, by name. They go before those that are set here.')
param appSettings object = {}

@description('The e-mail address that gets the alerts. Empty: they are in the portal only.')
param alertEmail string = ''

@description('Other thresholds than those in alerts.json, by the alert\'s name.')
param alertThresholds object = {}

@description('The object id of a user or group that may look at the queues, take messages, replay and reconcile. Empty: nobody.')
param operatorId string = ''

var token = toLower(uniqueString(subscription().id, environmentName, location))
var tags = { 'azd-env-name': environmentName }
var registryPath = split(registryId, '/')
var registryName = last(registryPath)

resource registry 'Microsoft.ContainerRegistry/registries@2025-11-01' existing = {
  name: registryName
  scope: resourceGroup(registryPath[2], registryPath[4])
}

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: 'rg-${environmentName}'
  location: location
  tags: tags
}

module monitoring 'monitoring.bicep' = {
  scope: group
  params: {
    location: location
    tags: tags
    token: token
  }
}

module app 'app.bicep' = {
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    insightsName: monitoring.outputs.insightsName
    registryId: registryId
    loginServer: registry.properties.loginServer
    // From the start, so that making the webhook changes nothing of the app, which would restart it.
    webhookId: recoverMissed ? '${registryId}/webhooks/${webhookName}' : ''
    reconcileSchedule: reconcileSchedule
    alwaysReadyInstances: alwaysReadyInstances
    maximumInstances: maximumInstances
    instanceMemoryMB: instanceMemoryMB
    appSettings: appSettings
    operatorId: operatorId
  }
}

module alerts 'alerts.bicep' = {
  scope: group
  params: {
    location: location
    tags: tags
    insightsName: monitoring.outputs.insightsName
    email: alertEmail
    thresholds: alertThresholds
  }
}

module record 'record.bicep' = if (recoverMissed) {
  scope: resourceGroup(registryPath[2], registryPath[4])
  params: {
    registryName: registryName
    principalId: app.outputs.principalId
    operatorId: operatorId
  }
}

module webhook 'webhook.bicep' = if (createWebhook) {
  scope: resourceGroup(registryPath[2], registryPath[4])
  params: {
    registryName: registryName
    location: registry.location
    name: webhookName
    actions: webhookActions
    repositories: webhookScope
    functionId: app.outputs.functionId
    keyName: keyName
    uri: '${app.outputs.functionUrl}?registry=${registry.properties.loginServer}'
  }
}

@description('Where deliveries go.')
output FUNCTION_URL string = app.outputs.functionUrl

@description('The webhook, once it is created.')
output WEBHOOK_NAME string = createWebhook ? webhookName : ''

output AZURE_FUNCTION_APP_NAME string = app.outputs.name
output AZURE_RESOURCE_GROUP string = group.name
output AZURE_STORAGE_ACCOUNT_NAME string = app.outputs.storageName
