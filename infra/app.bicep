// The app, its identity, its storage with the queues of routes.json, and its roles there.
param location string
param tags object
@minLength(13)
param token string
param insightsName string
param registryId string
param loginServer string

@description('The webhook whose missed deliveries are recovered; empty for none.')
param webhookId string
param reconcileSchedule string
param alwaysReadyInstances int
param maximumInstances int
param instanceMemoryMB int
param appSettings object
param operatorId string

var packages = 'packages'
// Without any(), the types here would depend on the content of the file.
var routing = any(loadJsonContent('../routes.json'))
// As the app reads them: each once, with the app setting NAME in place of %NAME%.
var queueNames = union(
  map(
    concat(map(routing.routes, route => route.queue), [routing.rejectedQueue]),
    queue => reduce(any(items(appSettings)), queue, (name, setting) => replace(name, '%${setting.key}%', trim(setting.value)))
  ),
  []
)

// Built-in roles: https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
var roleIds = {
  blobDataOwner: 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b'
  queueDataContributor: '974c5e8b-45b9-4653-ba55-5f855dd0fb88'
  queueDataMessageSender: 'c6a89b2d-59bc-44d0-9896-0f6e12d7b80a'
  queueDataReader: '19e7f393-937e-4f77-808e-94535e297925'
  tableDataContributor: '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3'
  monitoringMetricsPublisher: '3913510d-42f4-4e42-8a64-420c390055eb'
}

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: 'id-${token}'
  location: location
  tags: tags
}

resource storage 'Microsoft.Storage/storageAccounts@2025-08-01' = {
  name: 'st${token}'
  location: location
  tags: tags
  sku: { name: 'Standard_LRS' }
  kind: 'StorageV2'
  properties: {
    allowSharedKeyAccess: false
    allowBlobPublicAccess: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
  }

  resource blobs 'blobServices' = {
    name: 'default'

    resource container 'containers' = {
      name: packages
    }
  }

  resource queueService 'queueServices' = {
    name: 'default'

    resource queues 'queues' = [
      for name in queueNames: {
        name: name
      }
    ]
  }

  resource tableService 'tableServices' = {
    name: 'default'

    // The ledger of recovered deliveries.
    resource recovered 'tables' = {
      name: 'acrrecovered'
    }
  }
}

// The host keeps the code, its keys, and the lock of the timers in blobs. The app sends events, and reads
// the depth of the queues.
// https://learn.microsoft.com/azure/azure-functions/functions-reference
// https://learn.microsoft.com/azure/storage/queues/authorize-access-azure-active-directory
resource appsStorage 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for role in [roleIds.blobDataOwner, roleIds.queueDataMessageSender, roleIds.queueDataReader]: {
    name: guid(storage.id, identity.id, role)
    scope: storage
    properties: {
      principalId: identity.properties.principalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role)
    }
  }
]

resource appsTable 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(storage::tableService::recovered.id, identity.id, roleIds.tableDataContributor)
  scope: storage::tableService::recovered
  properties: {
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roleIds.tableDataContributor)
  }
}

resource insights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: insightsName
}

resource appsLog 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(insights.id, identity.id, roleIds.monitoringMetricsPublisher)
  scope: insights
  properties: {
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roleIds.monitoringMetricsPublisher)
  }
}

// For peek, replay and reconcile from another machine. Azure finds out whether it is a user or a group.
resource operators 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for role in [roleIds.queueDataContributor, roleIds.tableDataContributor]: if (!empty(operatorId)) {
    name: guid(storage.id, operatorId, role)
    scope: storage
    properties: {
      principalId: operatorId
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role)
    }
  }
]

// https://learn.microsoft.com/azure/azure-functions/flex-consumption-plan
resource plan 'Microsoft.Web/serverfarms@2025-05-01' = {
  name: 'plan-${token}'
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    name: 'FC1'
    tier: 'FlexConsumption'
  }
  properties: {
    reserved: true
  }
}

resource app 'Microsoft.Web/sites@2025-05-01' = {
  name: 'func-${token}'
  location: location
  tags: union(tags, { 'azd-service-name': 'app' })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identity.id}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    siteConfig: {
      minTlsVersion: '1.2'
    }
    functionAppConfig: {
      runtime: {
        name: 'python'
        version: trim(loadTextContent('../.python-version'))
      }
      scaleAndConcurrency: {
        instanceMemoryMB: instanceMemoryMB
        maximumInstanceCount: maximumInstances
        alwaysReady: alwaysReadyInstances > 0 ? [{ name: 'http', instanceCount: alwaysReadyInstances }] : []
      }
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${storage.properties.primaryEndpoints.blob}${packages}'
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identity.id
          }
        }
      }
    }
  }
  // The host needs them at its start, and tries again only after some time.
  dependsOn: [
    appsStorage
    appsTable
    appsLog
    storage::blobs::container
    storage::queueService::queues
  ]

  resource settings 'config' = {
    name: 'appsettings'
    properties: union(
      {
        // The name for the public cloud's host, the URI for others.
        AzureWebJobsStorage__accountName: storage.name
        AzureWebJobsStorage__blobServiceUri: storage.properties.primaryEndpoints.blob
        AzureWebJobsStorage__credential: 'managedidentity'
        AzureWebJobsStorage__clientId: identity.properties.clientId
        AcrEventsStorage__queueServiceUri: storage.properties.primaryEndpoints.queue
        AcrEventsStorage__tableServiceUri: storage.properties.primaryEndpoints.table
        AcrEventsStorage__credential: 'managedidentity'
        AcrEventsStorage__clientId: identity.properties.clientId
        AcrManagement__endpoint: environment().resourceManager
        AcrManagement__credential: 'managedidentity'
        AcrManagement__clientId: identity.properties.clientId
        AcrReconcileSchedule: reconcileSchedule
        ACR_REGISTRIES: '${loginServer}=${registryId}'
        ACR_WEBHOOKS: webhookId
        // Names the component and its endpoint. Writing needs the role of the identity.
        APPLICATIONINSIGHTS_CONNECTION_STRING: insights.properties.ConnectionString
        APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'Authorization=AAD;ClientId=${identity.properties.clientId}'
      },
      appSettings
    )
  }

  // Nobody signs in with a password to deploy.
  resource ftp 'basicPublishingCredentialsPolicies' = {
    name: 'ftp'
    properties: {
      allow: false
    }
    // One after the other, because the platform refuses two changes at a time.
    dependsOn: [settings]
  }

  resource scm 'basicPublishingCredentialsPolicies' = {
    name: 'scm'
    properties: {
      allow: false
    }
    dependsOn: [ftp]
  }
}

output name string = app.name
output principalId string = identity.properties.principalId
output storageName string = storage.name
output functionId string = '${app.id}/functions/AcrWebhook'
output functionUrl string = 'https://${app.properties.defaultHostName}/api/AcrWebhook'
